// Remotes that answer, but not as a repository should: a web server over the upstream's files that turns hostile.

import { readFile } from "node:fs/promises";
import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import { join, normalize } from "node:path";
import type { DefenceName } from "./defences.ts";
import type { World } from "./world.ts";

const mebibyte = Buffer.alloc(1024 * 1024, "0000000000000000000000000000000000000000\trefs/heads/evil-and-long-too\n");

async function listening(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** Serves a folder as any web server does: git's older protocol over HTTP. */
export class WebRemote {
  /** Takes a request from the file it asks for; false where it leaves it. */
  hostile: (path: string, response: ServerResponse) => boolean = () => false;
  /** What was asked of the second server, which nobody has a reason to know. */
  readonly lured: string[] = [];
  folder = "";
  url = "";
  elsewhere = "";
  readonly #servers: readonly Server[];

  private constructor() {
    this.#servers = [
      createServer((request, response) => void this.#serve(request.url ?? "", response)),
      createServer((request, response) => {
        this.lured.push(`${request.url} ${request.headers.authorization ?? ""}`);
        response.writeHead(404).end();
      }),
    ];
  }

  static async open(): Promise<WebRemote> {
    const remote = new WebRemote();
    const [own = 0, other = 0] = await Promise.all(remote.#servers.map(listening));
    remote.url = `http://127.0.0.1:${own}/policies.git`;
    remote.elsewhere = `http://127.0.0.1:${other}/evil.git`;
    return remote;
  }

  async #serve(target: string, response: ServerResponse): Promise<void> {
    response.on("error", () => {});
    const path = normalize(new URL(target, this.url).pathname.replace("/policies.git/", "")).replace(/^[/.]+/, "");
    if (this.hostile(path, response)) return;
    const content = await readFile(join(this.folder, path)).catch(() => null);
    response.writeHead(content === null ? 404 : 200).end(content ?? "");
  }

  close(): void {
    for (const server of this.#servers) {
      server.closeAllConnections();
      server.close();
    }
  }
}

export interface HostileRemote {
  readonly name: string;
  readonly defence: DefenceName;
  readonly says: RegExp;
  readonly turn: (remote: WebRemote, world: World) => void;
}

/** Seconds that a fetch may take there. */
export const patience = 5;

function endless(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/plain" });
  let sent = 0;
  const more = (): void => {
    while (sent < 1_500 && !response.destroyed) {
      sent += 1;
      if (!response.write(mebibyte)) return;
    }
  };
  response.on("drain", more);
  more();
}

export const remotes: readonly HostileRemote[] = [
  {
    name: "a remote that leads to another place",
    defence: "noRedirects",
    says: /leads to another place/,
    turn: (remote) => {
      remote.hostile = (path, response) => {
        response.writeHead(302, { location: `${remote.elsewhere}/${path}?service=git-upload-pack` }).end();
        return true;
      };
    },
  },
  {
    name: "a remote whose objects are said to lie elsewhere",
    defence: "noRedirects",
    says: /./,
    turn: (remote, world) => {
      world.upstream.commit({ "next.yaml": "# nothing" });
      world.publish();
      remote.hostile = (path, response) => {
        if (path === "objects/info/http-alternates") response.writeHead(200).end(`${remote.elsewhere}/objects\n`);
        else if (/^objects\/(?:[0-9a-f]{2}\/|info\/packs)/.test(path)) response.writeHead(404).end();
        else return false;
        return true;
      };
    },
  },
  {
    name: "a remote that asks who is there",
    defence: "noPrompt",
    says: /refuses the credentials/,
    turn: (remote) => {
      remote.hostile = (_path, response) => {
        response.writeHead(401, { "www-authenticate": 'Basic realm="policies"' }).end();
        return true;
      };
    },
  },
  {
    name: "a remote that never answers",
    defence: "deadline",
    says: /took too long/,
    turn: (remote) => {
      remote.hostile = () => true;
    },
  },
  {
    name: "a remote with refs without end",
    defence: "memory",
    says: /more memory|took too long/,
    turn: (remote) => {
      remote.hostile = (_path, response) => {
        endless(response);
        return true;
      };
    },
  },
];
