// A proxy that notes what goes through it: method, path and status of each request of a client. It reads the messages as bytes,
// because Node's parser knows no LIST.
// Known gap: bodies have a length or there is none, and a client waits for an answer before it asks again on a connection, as
// the clients recorded here do; anything else ends the connection, and with it the client's test.

import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

export interface Exchange {
  readonly method: string;
  /** With its query, as sent. */
  readonly target: string;
  readonly status: number;
}

export interface Recorder {
  readonly address: string;
  /** In the order of their answers. */
  readonly exchanges: readonly Exchange[];
  close(): Promise<void>;
}

interface Message {
  readonly firstLine: string;
  readonly bytes: Buffer;
}

const none = Buffer.alloc(0);

/** Takes whole messages off a stream of bytes. `bodiless` says whether a message ends with its head whatever it says. */
class Reader {
  #bytes: Buffer = none;

  add(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
  }

  next(bodiless: (firstLine: string) => boolean): Message | null {
    const end = this.#bytes.indexOf("\r\n\r\n");
    if (end < 0) return null;
    const head = this.#bytes.subarray(0, end).toString("latin1");
    const [firstLine = ""] = head.split("\r\n", 1);
    if (/^transfer-encoding:/im.test(head)) throw new Error(`${firstLine}: a body without a length`);
    const length = bodiless(firstLine) ? 0 : Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
    const size = end + 4 + length;
    if (this.#bytes.length < size) return null;
    const bytes = this.#bytes.subarray(0, size);
    this.#bytes = this.#bytes.subarray(size);
    return { firstLine, bytes };
  }
}

function serve(client: Socket, upstream: { readonly host: string; readonly port: number }, noted: Exchange[]): void {
  const server = connect(upstream);
  const asked: { method: string; target: string }[] = [];
  const requests = new Reader();
  const answers = new Reader();
  const end = (): void => {
    client.destroy();
    server.destroy();
  };
  client.on("error", end).on("close", end);
  server.on("error", end).on("close", end);
  client.on("data", (chunk: Buffer) => {
    requests.add(chunk);
    for (let message = requests.next(() => false); message !== null; message = requests.next(() => false)) {
      const [method = "", target = ""] = message.firstLine.split(" ");
      asked.push({ method, target });
      server.write(message.bytes);
    }
  });
  server.on("data", (chunk: Buffer) => {
    answers.add(chunk);
    const bodiless = (): boolean => asked[0]?.method === "HEAD";
    for (let message = answers.next(bodiless); message !== null; message = answers.next(bodiless)) {
      const request = asked.shift();
      if (request === undefined) return end();
      noted.push({ ...request, status: Number(message.firstLine.split(" ")[1]) });
      client.write(message.bytes);
    }
  });
}

/** `upstream` is the port of the server on this machine. */
export async function record(upstream: number): Promise<Recorder> {
  const exchanges: Exchange[] = [];
  const open = new Set<Socket>();
  const listener = createServer((socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    serve(socket, { host: "127.0.0.1", port: upstream }, exchanges);
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const address = listener.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    address: `http://127.0.0.1:${address.port}`,
    exchanges,
    close: async () => {
      for (const socket of open) socket.destroy();
      listener.close();
      await once(listener, "close");
    },
  };
}
