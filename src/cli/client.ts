// The vault's HTTP API, for commands: where it is and who asks come from VAULT_ADDR and VAULT_TOKEN as for any client.
// Must hold: a token goes to the address that the user named and nowhere else (no redirect is followed), and never into a
// message.

import { readFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { join } from "node:path";
import { request as httpRequest } from "../lib/http.ts";

/** What went wrong and what to do, for a person; ends the command. */
export class CommandError extends Error {
  readonly exitCode: number;
  override readonly name = "CommandError";
  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

export interface Answer {
  readonly status: number;
  /** The parsed body; null where there is none. */
  readonly body: Readonly<Record<string, unknown>> | null;
}

export interface Client {
  readonly address: string;
  /** Null where neither the environment nor the token file has one. */
  readonly token: string | null;
  /** Any status but redirects is an answer. Throws CommandError where the server cannot be reached. */
  send(method: string, path: string, body?: unknown): Promise<Answer>;
  /** The same, but statuses from 400 on (but those in `expected`) throw CommandError with what the server says. */
  call(method: string, path: string, body?: unknown, expected?: readonly number[]): Promise<Answer>;
  /** The bytes that a POST is answered with, as they come: they end in an error where the server breaks off. */
  download(path: string, body: unknown): Promise<AsyncIterable<Uint8Array>>;
}

type Environment = Readonly<Record<string, string | undefined>>;

const maxAnswer = 64 * 1024 * 1024;
const timeoutMs = 90_000;
const defaultAddress = "http://127.0.0.1:8200";

async function tokenOf(env: Environment): Promise<string | null> {
  const given = env["VAULT_TOKEN"]?.trim();
  if (given !== undefined && given !== "") return given;
  if (env["HOME"] === undefined) return null;
  const file = await readFile(join(env["HOME"], ".vault-token"), "utf8").catch(() => "");
  return file.trim() === "" ? null : file.trim();
}

function target(address: string): { readonly url: URL; readonly socketPath?: string } {
  if (address.startsWith("unix://")) return { url: new URL("http://localhost/"), socketPath: address.slice(7) };
  if (!URL.canParse(address) || !/^https?:$/.test(new URL(address).protocol)) {
    throw new CommandError(`VAULT_ADDR must be an http, https or unix URL, such as ${defaultAddress}`);
  }
  const url = new URL(address);
  return { url };
}

async function bodyOf(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of message) {
    size += (chunk as Buffer).length;
    if (size > maxAnswer) throw new Error("the answer is too large");
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString("utf8");
}

const hints: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there: start the server (npm start, or writ server --config FILE), or set VAULT_ADDR",
  ENOENT: "there is no such socket: start the server, or set VAULT_ADDR",
  ENOTFOUND: "there is no such host: check VAULT_ADDR",
  ECONNRESET:
    "the server closed the connection: is VAULT_ADDR https where the server speaks http, or the other way round?",
};

function ask(
  address: string,
  token: string | null,
  method: string,
  path: string,
  body: unknown,
): Promise<IncomingMessage> {
  const { url, socketPath } = target(address);
  const data = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const send = url.protocol === "https:" ? httpsRequest : httpRequest;
  const outgoing = send(
    new URL(`/v1/${path}`, url),
    {
      method,
      timeout: timeoutMs,
      ...(socketPath !== undefined && { socketPath }),
      headers: {
        "X-Vault-Request": "true",
        ...(token !== null && { "X-Vault-Token": token }),
        ...(data && { "Content-Type": "application/json", "Content-Length": data.length }),
      },
    },
    resolve,
  );
  outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)));
  outgoing.on("error", reject);
  outgoing.end(data);
  return promise;
}

async function answerOf(message: IncomingMessage): Promise<Answer> {
  const text = await bodyOf(message);
  const status = message.statusCode ?? 0;
  try {
    return { status, body: text === "" ? null : (JSON.parse(text) as Answer["body"]) };
  } catch {
    throw new Error(`it answered ${status} with something that is not JSON: is it a vault?`);
  }
}

/** What the server said, and what to do next. */
function refusal(method: string, path: string, { status, body }: Answer, token: string | null): string {
  const said = Array.isArray(body?.["errors"]) ? body["errors"].map(String).join("; ") : "";
  const next =
    status === 403 && token === null
      ? "; set VAULT_TOKEN, or put a token into ~/.vault-token"
      : status === 403
        ? "; the token lacks a policy for this path, or is no longer valid"
        : status === 503
          ? "; unseal it first: writ operator unseal"
          : "";
  return `${method} ${path}: ${status}${said === "" ? "" : ` ${said}`}${next}`;
}

/** `env` is the process's environment. */
export async function createClient(env: Environment): Promise<Client> {
  const address = env["VAULT_ADDR"]?.trim() || defaultAddress;
  target(address);
  const token = await tokenOf(env);
  if (token !== null && !/^[\x21-\x7e]+$/.test(token)) throw new CommandError("VAULT_TOKEN must be one word");
  const explain = (error: NodeJS.ErrnoException): never => {
    throw new CommandError(`${address}: ${hints[error.code ?? ""] ?? error.message}`);
  };
  const send: Client["send"] = async (method, path, body) => {
    const answer = await ask(address, token, method, path, body).then(answerOf).catch(explain);
    if (answer.status >= 300 && answer.status < 400) {
      throw new CommandError(
        `${address} answers with a redirect, which is not followed: set VAULT_ADDR to the server itself`,
      );
    }
    return answer;
  };
  return {
    address,
    token,
    send,
    download: async (path, body) => {
      const message = await ask(address, token, "POST", path, body).catch(explain);
      if (message.statusCode === 200 && message.headers["content-type"] === "application/octet-stream") return message;
      const answer = await answerOf(message).catch(explain);
      throw new CommandError(refusal("POST", path, answer, token));
    },
    call: async (method, path, body, expected = []) => {
      const answer = await send(method, path, body);
      if (answer.status >= 400 && !expected.includes(answer.status)) {
        throw new CommandError(refusal(method, path, answer, token));
      }
      return answer;
    },
  };
}
