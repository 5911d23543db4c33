// The vault's HTTP API, for commands: where it is and who asks come from VAULT_ADDR, VAULT_TOKEN and the rest of Vault's
// variables, as for any client.
// Must hold: a token goes to the address that the user named and nowhere else (no redirect is followed), and never into a
// message.

import { readFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { type RequestOptions, request as httpsRequest } from "node:https";
import { join } from "node:path";
import { request as httpRequest } from "../lib/http.ts";
import { faultText, nextText } from "./explain.ts";

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
  /** Seconds, where the server says when to come again. */
  readonly retryAfter?: string | undefined;
}

/** What an answer is about; empty where it says nothing. */
export const dataIn = (body: Answer["body"]): Readonly<Record<string, unknown>> =>
  (body?.["data"] ?? {}) as Readonly<Record<string, unknown>>;

export interface Client {
  readonly address: string;
  /** Null where neither the environment nor the token file has one. */
  readonly token: string | null;
  /** Any status but redirects is an answer. Throws CommandError where the server cannot be reached. */
  send(method: string, path: string, body?: unknown, more?: Headers): Promise<Answer>;
  /** The same, but statuses from 400 on (but those in `expected`) throw CommandError with what the server says. */
  call(method: string, path: string, body?: unknown, expected?: readonly number[], more?: Headers): Promise<Answer>;
  /** The same server, asked with another token. */
  as(token: string): Client;
  /** The same, waiting no longer than so many milliseconds for each answer. */
  within(ms: number): Client;
  /** The bytes that a POST is answered with, as they come: they end in an error where the server breaks off. */
  download(path: string, body: unknown): Promise<AsyncIterable<Uint8Array>>;
}

export type Headers = Readonly<Record<string, string>>;
type Environment = Readonly<Record<string, string | undefined>>;

/** Where tokens are kept between commands, as by Vault's. Null where there is no home. */
export const tokenFile = (env: Environment): string | null =>
  env["HOME"] === undefined ? null : join(env["HOME"], ".vault-token");

/** A path of the API as it is typed: each segment is sent as it stands. Throws CommandError. */
export function apiPath(text: string): string {
  const segments = text.replace(/^\/+|\/+$/g, "").split("/");
  if (segments.some((segment) => segment === "" || segment === "." || segment === "..")) {
    throw new CommandError(`${JSON.stringify(text)} is no path: it has an empty segment, "." or ".."`);
  }
  return segments.map(encodeURIComponent).join("/");
}

/** The exit code where the server, or the way to it, is at fault, as Vault's: 1 is for what is wrong here. */
export const remote = 2;
const maxAnswer = 64 * 1024 * 1024;
const timeoutMs = 90_000;
const defaultAddress = "http://127.0.0.1:8200";

const oneWord = /^[\x21-\x7e]+$/;

/** What is asked with; null where there is none. */
export async function tokenOf(env: Environment): Promise<string | null> {
  const given = env["VAULT_TOKEN"]?.trim();
  if (given !== undefined && given !== "") return given;
  const path = tokenFile(env);
  const file = path === null ? "" : await readFile(path, "utf8").catch(() => "");
  // What is no token there hinders nobody from logging in.
  return oneWord.test(file.trim()) ? file.trim() : null;
}

function target(address: string): { readonly url: URL; readonly socketPath?: string } {
  if (address.startsWith("unix://")) return { url: new URL("http://localhost/"), socketPath: address.slice(7) };
  if (!URL.canParse(address) || !/^https?:$/.test(new URL(address).protocol)) {
    throw new CommandError(`VAULT_ADDR must be an http, https or unix URL, such as ${defaultAddress}`);
  }
  const url = new URL(address);
  return { url };
}

/** Certificates to trust and to show, from files. Throws CommandError. */
async function tlsOf(env: Environment): Promise<RequestOptions> {
  const read = async (name: string): Promise<Buffer | undefined> => {
    const file = env[name];
    if (file === undefined || file === "") return undefined;
    return readFile(file).catch((error: NodeJS.ErrnoException) => {
      throw new CommandError(`${name}: ${file} cannot be read (${error.code ?? "unknown"})`);
    });
  };
  const [ca, cert, key] = [await read("VAULT_CACERT"), await read("VAULT_CLIENT_CERT"), await read("VAULT_CLIENT_KEY")];
  const servername = env["VAULT_TLS_SERVER_NAME"];
  return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }), ...(servername && { servername }) };
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

/** Whom to ask, and as whom. */
interface Way {
  readonly address: string;
  readonly token: string | null;
  readonly headers: Headers;
  readonly tls: RequestOptions;
  readonly env: Environment;
  readonly timeoutMs: number;
}

async function ask(
  way: Way,
  method: string,
  path: string,
  body: unknown,
  more: Headers = {},
): Promise<IncomingMessage> {
  const { url, socketPath } = target(way.address);
  const data = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const send = url.protocol === "https:" ? httpsRequest : httpRequest;
  const outgoing = send(
    new URL(`/v1/${path}`, url),
    {
      ...way.tls,
      method,
      timeout: way.timeoutMs,
      ...(socketPath !== undefined && { socketPath }),
      headers: {
        "X-Vault-Request": "true",
        ...(way.token !== null && { "X-Vault-Token": way.token }),
        ...(data && { "Content-Type": "application/json", "Content-Length": data.length }),
        ...way.headers,
        ...more,
      },
    },
    resolve,
  );
  outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer within ${way.timeoutMs / 1000} s`)));
  outgoing.on("error", reject);
  outgoing.end(data);
  return promise;
}

async function answerOf(message: IncomingMessage): Promise<Answer> {
  const text = await bodyOf(message);
  const status = message.statusCode ?? 0;
  const retryAfter = message.headers["retry-after"];
  try {
    return { status, retryAfter, body: text === "" ? null : (JSON.parse(text) as Answer["body"]) };
  } catch {
    throw new Error(`it answered ${status} with something that is not JSON: is it a vault?`);
  }
}

const errorsOf = ({ body }: Answer): readonly string[] =>
  Array.isArray(body?.["errors"]) ? body["errors"].map(String) : [];

/** What the server said, and what to do next. */
async function refusal(way: Way, method: string, path: string, answer: Answer): Promise<string> {
  const { status, retryAfter } = answer;
  const errors = errorsOf(answer);
  const next = await nextText({ status, errors, retryAfter }, way.token, async () => {
    const { body } = await ask(way, "GET", "sys/seal-status", undefined).then(answerOf);
    return body;
  });
  const said = errors.length === 0 ? "" : ` ${errors.join("; ")}`;
  return `${method} ${path}: ${status}${said}${next === "" ? "" : `; ${next}`}`;
}

function clientOf(way: Way): Client {
  const { address, token } = way;
  const explain = (error: NodeJS.ErrnoException): never => {
    if (error instanceof CommandError) throw error;
    throw new CommandError(faultText(address, error, way.env), remote);
  };
  const send: Client["send"] = async (method, path, body, more) => {
    const answer = await ask(way, method, path, body, more).then(answerOf).catch(explain);
    if (answer.status >= 300 && answer.status < 400) {
      throw new CommandError(
        `${address} answers with a redirect, which is not followed: set VAULT_ADDR to the server itself`,
        remote,
      );
    }
    return answer;
  };
  return {
    address,
    token,
    send,
    as: (other) => clientOf({ ...way, token: other }),
    within: (ms) => clientOf({ ...way, timeoutMs: ms }),
    download: async (path, body) => {
      const message = await ask(way, "POST", path, body).catch(explain);
      if (message.statusCode === 200 && message.headers["content-type"] === "application/octet-stream") return message;
      const answer = await answerOf(message).catch(explain);
      throw new CommandError(await refusal(way, "POST", path, answer), remote);
    },
    call: async (method, path, body, expected = [], more = {}) => {
      const answer = await send(method, path, body, more);
      if (answer.status >= 400 && !expected.includes(answer.status)) {
        throw new CommandError(await refusal(way, method, path, answer), remote);
      }
      return answer;
    },
  };
}

/** `env` is the process's environment. */
export async function createClient(env: Environment): Promise<Client> {
  const address = env["VAULT_ADDR"]?.trim() || defaultAddress;
  target(address);
  const token = await tokenOf(env);
  if (token !== null && !oneWord.test(token)) throw new CommandError("VAULT_TOKEN must be one word");
  const namespace = env["VAULT_NAMESPACE"]?.trim();
  const headers = namespace ? { "X-Vault-Namespace": namespace } : {};
  return clientOf({ address, token, headers, tls: await tlsOf(env), env, timeoutMs });
}
