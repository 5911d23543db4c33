// `writ login|logout`: how people and programs get a token, and where it is kept.
// Must hold: the token file is its owner's alone from its first byte; passwords and secret ids need not stand on the
// command line.

import { rm } from "node:fs/promises";
import { apiPath, type Client, CommandError, dataIn, tokenFile } from "./client.ts";
import { dataOf, hidden, hiddenWord, refuseShown } from "./input.ts";
import type { Io } from "./io.ts";
import { saveAs } from "./output.ts";
import { show, type ShowOptions } from "./show.ts";

type Body = Readonly<Record<string, unknown>>;

export interface LoginOptions extends ShowOptions {
  readonly method: string;
  readonly path?: string;
  readonly store: boolean;
}

interface Method {
  /** Asked for, not shown, where it is not among the words. */
  readonly secret: string;
  /** Has to be among the words. */
  readonly needs: readonly string[];
  /** Where it is sent, below auth/MOUNT/, and what. */
  request(data: Body): readonly [string, Body];
}

/** One row for each auth method that takes more than a token. */
const methods: Readonly<Record<string, Method>> = {
  userpass: {
    secret: "password",
    needs: ["username"],
    request: ({ username, ...data }) => [`login/${encodeURIComponent(String(username))}`, data],
  },
  approle: { secret: "secret_id", needs: ["role_id"], request: (data) => ["login", data] },
};

/** What a login answers with. */
async function authOf(client: Client, io: Io, words: readonly string[], options: LoginOptions): Promise<Body> {
  if (options.method === "token") {
    for (const word of words) refuseShown(word, "a token");
    const token = await hiddenWord(io, "Token");
    const { body } = await client.as(token).call("GET", "auth/token/lookup-self");
    const data = dataIn(body);
    return {
      client_token: token,
      accessor: data["accessor"],
      policies: data["policies"],
      lease_duration: data["ttl"],
      renewable: data["renewable"],
    };
  }
  const method = methods[options.method];
  if (method === undefined) {
    throw new CommandError(`--method is one of: token, ${Object.keys(methods).join(", ")}`);
  }
  const data = await dataOf(words, io);
  for (const name of method.needs) {
    if (data[name] === undefined)
      throw new CommandError(`give ${name}=… : writ login --method ${options.method} ${name}=…`);
  }
  const secret = method.secret;
  const [path, body] = method.request(
    data[secret] === undefined ? { ...data, [secret]: await hidden(io, secret) } : data,
  );
  const answer = await client.call("POST", `auth/${apiPath(options.path ?? options.method)}/${path}`, body);
  return (answer.body?.["auth"] ?? {}) as Body;
}

export async function login(client: Client, io: Io, words: readonly string[], options: LoginOptions): Promise<number> {
  const auth = await authOf(client, io, words, options);
  const file = tokenFile(io.env);
  const store = options.store && options.field === undefined;
  if (store) {
    if (file === null)
      throw new CommandError("HOME is not set: there is no place for the token file; --no-store prints it");
    await saveAs(file, [Buffer.from(String(auth["client_token"]))]);
  }
  const { client_token: token, ...rest } = auth;
  show(io, { auth }, store ? rest : { token, ...rest }, options);
  if (store) io.err(`The token is in ${file ?? ""}: commands find it there.`);
  if (io.env["VAULT_TOKEN"]) io.err("VAULT_TOKEN is set, and comes before that file: unset it to be who you are now.");
  return 0;
}

/** Ends the token of the file, and forgets it. */
export async function logout(client: Client, io: Io): Promise<number> {
  const file = tokenFile(io.env);
  const { status } = await client.call("POST", "auth/token/revoke-self", undefined, [403]);
  if (file !== null) await rm(file, { force: true });
  io.out(status === 403 ? "The token was not valid any more; it is forgotten" : "The token is revoked and forgotten");
  return 0;
}
