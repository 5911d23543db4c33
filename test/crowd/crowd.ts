// Clients of one kind, many of them, in a process of their own: started by crowd.prove.ts, which says what they do, when
// they begin and when they end. Each group counts what went well and what did not; only the groups of good clients may
// have nothing that did not.

import { once } from "node:events";
import { Agent, request } from "node:http";
import { connect, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

export interface Task {
  readonly group: keyof typeof groups;
  readonly port: number;
  readonly count: number;
  readonly token: string;
}

export interface Tally {
  /** Requests that were answered as they should be. */
  good: number;
  /** Requests that were asked again, since the server had too much to do. */
  again: number;
  /** What went wrong, by what it was. */
  readonly wrong: Record<string, number>;
  /** Milliseconds of each good request. */
  readonly times: number[];
}

const tally: Tally = { good: 0, again: 0, wrong: {}, times: [] };
let over = false;
const isOver = (): boolean => over;

function fail(what: string): void {
  tally.wrong[what] = (tally.wrong[what] ?? 0) + 1;
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

function ask(
  task: Task,
  agent: Agent,
  method: string,
  path: string,
  body?: Buffer,
  token = task.token,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { ...(token !== "" && { "X-Vault-Token": token }), ...(body && { "Content-Length": body.length }) };
    const outgoing = request({ host: "127.0.0.1", port: task.port, path: `/v1/${path}`, method, agent, headers });
    outgoing.on("response", (incoming) => {
      let text = "";
      incoming.setEncoding("latin1").on("data", (chunk: string) => (text.length < 10_000 ? (text += chunk) : null));
      incoming.on("end", () => resolve({ status: incoming.statusCode ?? 0, text }));
      incoming.on("error", reject);
    });
    outgoing.on("error", reject).end(body);
  });
}

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error);
/** What a server answers that has too much to do just now. */
const busy = new Set([429, 503]);

/** Asks one after the other until it is over; each answer must have a status of `wanted`. */
async function repeat(wanted: readonly number[], everyMs: number, one: () => Promise<Answer>): Promise<void> {
  while (!isOver()) {
    const since = performance.now();
    try {
      const { status, text } = await one();
      if (wanted.includes(status)) {
        tally.good += 1;
        tally.times.push(performance.now() - since);
      } else if (busy.has(status)) {
        tally.again += 1;
        await pause(200 + Math.random() * 300);
      } else fail(`${status} ${text.slice(0, 200)}`);
    } catch (error) {
      fail(codeOf(error));
    }
    const rest = everyMs - (performance.now() - since);
    if (rest > 0) await pause(rest);
  }
}

const keepAlive = (): Agent => new Agent({ keepAlive: true, maxSockets: 1 });
const each = (count: number, run: (at: number) => Promise<void>): Promise<unknown> =>
  Promise.all(Array.from({ length: count }, (_, at) => run(at)));

async function dial(port: number): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port });
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

/** Almost 32 MiB of JSON in `parts` strings: as much as a body may hold. */
function largeBody(parts: number): Buffer {
  const size = 32 * 1024 * 1024 - 64 * 1024;
  const each = Math.floor(size / parts) - 14;
  const members = Array.from({ length: parts }, (_, at) => `"${String(at).padStart(8, "0")}":"${"v".repeat(each)}"`);
  return Buffer.from(`{"path":"sys/health","data":{${members.join(",")}}}`);
}

/** One request on its own connection, whose answer is the whole of it. */
async function speak(socket: Socket): Promise<boolean> {
  let text = "";
  const onData = (chunk: Buffer): void => void (text += chunk.toString("latin1"));
  socket.on("data", onData);
  socket.write("GET /v1/sys/health HTTP/1.1\r\nHost: localhost\r\n\r\n");
  for (let waited = 0; waited < 30_000 && !text.includes("}\n"); waited += 20) {
    if (socket.destroyed) break;
    await pause(20);
  }
  socket.off("data", onData);
  return text.startsWith("HTTP/1.1 200") && text.includes("}\n");
}

const groups = {
  /** Connections that ask once, are idle, and ask once more in the end. */
  idle: async (task: Task, ready: () => void) => {
    const sockets: Socket[] = [];
    const speakAll = async (): Promise<void> => {
      for (let at = 0; at < sockets.length; at += 100) {
        const spoken = await Promise.all(sockets.slice(at, at + 100).map(speak));
        for (const fine of spoken) {
          if (fine) tally.good += 1;
          else fail("an idle connection was not answered");
        }
      }
    };
    for (let at = 0; at < task.count; at += 100) {
      sockets.push(...(await Promise.all(Array.from({ length: 100 }, () => dial(task.port)))));
    }
    await speakAll();
    ready();
    while (!isOver()) await pause(50);
    await speakAll();
    for (const socket of sockets) socket.destroy();
  },
  /** A third sends headers byte by byte, a third a body, a third reads a large answer byte by byte. */
  slow: async (task: Task, ready: () => void) => {
    ready();
    const heads = [
      `GET /v1/sys/health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ${"x".repeat(4000)}`,
      `POST /v1/secret/data/slow HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: ${task.token}\r\nContent-Length: 900000\r\n\r\n`,
      `GET /v1/secret/data/large HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: ${task.token}\r\n\r\n`.repeat(16),
    ];
    await each(task.count, async (at) => {
      const kind = at % 3;
      while (!isOver()) {
        const socket = await dial(task.port).catch(() => null);
        if (socket === null) {
          await pause(100);
          continue;
        }
        const head = heads[kind] ?? "";
        if (kind === 0) socket.write(head.slice(0, 20));
        else socket.write(head);
        if (kind === 2) socket.pause();
        for (let sent = 20; !socket.destroyed && socket.writable && !isOver(); sent++) {
          if (kind === 0) socket.write(head[sent % head.length] ?? "x");
          else if (kind === 1) socket.write(sent === 20 ? '{"data":{"a":"' : "x");
          else socket.read(100);
          await pause(100);
        }
        socket.destroy();
        tally.good += 1;
      }
    });
  },
  bodies: async (task: Task, ready: () => void) => {
    const bodies = [largeBody(40), largeBody(40_000)];
    ready();
    await each(task.count, async (at) => {
      const agent = keepAlive();
      // A secret has no room for it; what a call does not know it leaves alone.
      const [path, wanted] = at % 2 === 0 ? [`secret/data/large-${at}`, 413] : ["sys/capabilities-self", 200];
      await repeat([wanted], 0, () => ask(task, agent, "POST", path, bodies[(at >> 1) % 2]));
    });
  },
  /** Nobody knows them, and they send as much. */
  strangers: async (task: Task, ready: () => void) => {
    const body = largeBody(40);
    ready();
    await each(task.count, async (at) => {
      const path = at % 2 === 0 ? "auth/userpass/login/user-1" : "secret/data/a";
      await repeat([400, 403, 413], 50, () =>
        ask(task, keepAlive(), "POST", path, body, at % 2 === 0 ? "" : "hvs.nobodys").catch((error: unknown) => {
          // Whoever sends on when it was answered may lose the answer.
          if (codeOf(error) === "EPIPE" || codeOf(error) === "ECONNRESET") return { status: 413, text: "" };
          throw error;
        }),
      );
    });
  },
  /** Nobody knows them either: bodies of all sizes that lack their last byte, and anew as soon as they are cut off. */
  stalling: async (task: Task, ready: () => void) => {
    const sizes = [256 * 1024, 200_000, 16_000, 300];
    ready();
    await each(task.count, async (at) => {
      const size = sizes[at % sizes.length] ?? 300;
      const path = at % 5 === 0 ? "sys/unseal" : "auth/userpass/login/user-1";
      const head = `POST /v1/${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${size}\r\n\r\n`;
      while (!isOver()) {
        const socket = await dial(task.port).catch(() => null);
        if (socket !== null) {
          socket.resume().write(head + "x".repeat(size - 1));
          while (!socket.destroyed && !isOver()) await pause(50);
          socket.destroy();
          tally.good += 1;
        }
        await pause(100);
      }
    });
  },
  logins: async (task: Task, ready: () => void) => {
    ready();
    await each(task.count, async (at) => {
      const agent = keepAlive();
      const body = Buffer.from(JSON.stringify({ password: `password-${at}` }));
      await repeat([200], 0, () => ask(task, agent, "POST", `auth/userpass/login/user-${at}`, body, ""));
    });
  },
  readers: async (task: Task, ready: () => void) => {
    ready();
    await each(task.count, async () => {
      const agent = keepAlive();
      await repeat([200], 50, () => ask(task, agent, "GET", "secret/data/small"));
    });
  },
  health: async (task: Task, ready: () => void) => {
    ready();
    await each(task.count, async () => {
      const agent = keepAlive();
      await repeat([200], 20, () => ask(task, agent, "GET", "sys/health", undefined, ""));
    });
  },
};

if (process.send !== undefined) {
  process.on("message", (message: Task | "end") => {
    if (message === "end") {
      over = true;
      return;
    }
    void groups[message.group](message, () => process.send?.("ready")).then(
      () => process.send?.(tally, () => process.exit(0)),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  });
}
