// What eight writers have asked of a server and what it has answered, so that after a kill each thing can be held against what
// it may be: as last answered, or as last asked.

import type { Server } from "./server.ts";

const slots = 20;

/** One thing that one writer alone changes, one request at a time. */
interface Thing {
  /** As answered: a number, or null for absent. */
  known: number | null;
  /** As asked without an answer; the same as `known` where nothing is open. */
  asked: number | null;
  touched: boolean;
}

interface Token {
  readonly token: string;
  alive: boolean | "maybe";
}

interface Extra {
  readonly path: string;
  /** "open": asked without an answer. */
  state: "open" | "there" | "leaving" | "gone";
  readonly data: number[];
}

const fail = (text: string): never => {
  throw new Error(text);
};

export class Model {
  readonly #server: Server;
  readonly #writers: number;
  readonly #secrets = new Map<string, Thing>();
  readonly #users = new Map<string, Thing>();
  readonly #tokens: Token[] = [];
  #extra: Extra | null = null;
  #next = 1;
  answered = 0;
  /** Told of the next answer. */
  #onAnswer: () => void = () => {};
  readonly #counts = { secrets: 0, deletions: 0, tokens: 0, revocations: 0, users: 0, mounts: 0, unmounts: 0 };

  constructor(server: Server, writers: number) {
    this.#server = server;
    this.#writers = writers;
  }

  async prepare(): Promise<void> {
    await this.#server.must("POST", "sys/mounts/kv", { type: "kv", options: { version: "2" } });
    await this.#server.must("POST", "sys/auth/userpass", { type: "userpass" });
  }

  summary(): string {
    const counts = Object.entries(this.#counts).map(([name, count]) => `${count} ${name}`);
    return `${this.answered} answered writes (${counts.join(", ")})`;
  }

  /** Writes until the server is gone. */
  async write(): Promise<void> {
    await Promise.all(Array.from({ length: this.#writers }, (_, writer) => this.#writer(writer)));
  }

  /** Resolves at the next answer. */
  answer(): Promise<void> {
    return new Promise((resolve) => {
      this.#onAnswer = resolve;
    });
  }

  async #writer(writer: number): Promise<void> {
    for (;;) {
      try {
        if (writer === this.#writers - 1) await this.#people();
        else if (writer === this.#writers - 2) await this.#tokenLife();
        else await this.#secret(writer);
        this.answered += 1;
        this.#onAnswer();
      } catch (error) {
        if (error instanceof Error && error.message.startsWith("answered ")) throw error;
        return;
      }
    }
  }

  /** Asks; rejects where no answer came, and, so that it is noticed, where the answer is an error. */
  async #ask(method: string, path: string, data?: object, token?: string): Promise<unknown> {
    const { status, body } = await this.#server.ask(method, path, data, token);
    if (status >= 300) throw new Error(`answered ${status} to ${method} ${path}: ${JSON.stringify(body)}`);
    return body;
  }

  async #change(thing: Thing, value: number | null, ask: () => Promise<unknown>): Promise<void> {
    thing.touched = true;
    thing.asked = value;
    await ask();
    thing.known = value;
  }

  async #secret(writer: number): Promise<void> {
    const path = `w${writer}/${Math.floor(Math.random() * slots)}`;
    const thing = thingOf(this.#secrets, path);
    if (thing.known !== null && Math.random() < 0.1) {
      await this.#change(thing, null, () => this.#ask("DELETE", `kv/metadata/${path}`));
      this.#counts.deletions += 1;
      return;
    }
    const n = this.#next++;
    // Now and then one that fills several pages.
    const text = n % 50 === 0 ? "x".repeat(100_000) : "";
    await this.#change(thing, n, () => this.#ask("POST", `kv/data/${path}`, { data: { n, text } }));
    this.#counts.secrets += 1;
  }

  async #tokenLife(): Promise<void> {
    const alive = this.#tokens.filter((one) => one.alive === true);
    const one = alive[Math.floor(Math.random() * alive.length)];
    if (one !== undefined && alive.length > 5) {
      one.alive = "maybe";
      await this.#ask("POST", "auth/token/revoke", { token: one.token });
      one.alive = false;
      this.#counts.revocations += 1;
      return;
    }
    const body = (await this.#ask("POST", "auth/token/create", { ttl: "5h" })) as { auth: { client_token: string } };
    this.#tokens.push({ token: body.auth.client_token, alive: true });
    this.#counts.tokens += 1;
  }

  async #people(): Promise<void> {
    const name = `user${Math.floor(Math.random() * 5)}`;
    const thing = thingOf(this.#users, name);
    const ttl = this.#next++;
    await this.#change(thing, ttl, () =>
      this.#ask("POST", `auth/userpass/users/${name}`, {
        token_ttl: ttl,
        ...(thing.known === null && { password: "a password" }),
      }),
    );
    this.#counts.users += 1;
  }

  /** A mount with data in it; with `leave` it is unmounted again. */
  async mounting(round: number, leave: boolean): Promise<void> {
    const extra: Extra = { path: `extra${round}`, state: "open", data: [] };
    this.#extra = extra;
    await this.#ask("POST", `sys/mounts/${extra.path}`, { type: "kv", options: { version: "2" } });
    extra.state = "there";
    this.#counts.mounts += 1;
    for (let n = 0; n < 3; n++) {
      await this.#ask("POST", `${extra.path}/data/${n}`, { data: { n } });
      extra.data.push(n);
    }
    if (!leave) return;
    extra.state = "leaving";
    await this.#ask("DELETE", `sys/mounts/${extra.path}`);
    extra.state = "gone";
    this.#counts.unmounts += 1;
  }

  /** What was touched since the last check. */
  async check(): Promise<void> {
    await Promise.all([
      ...[...this.#secrets].flatMap(([path, thing]) => (thing.touched ? [this.#checkSecret(path, thing)] : [])),
      ...[...this.#users].flatMap(([name, thing]) => (thing.touched ? [this.#checkUser(name, thing)] : [])),
      this.#checkTokens(this.#tokens.slice(-20)),
    ]);
    await this.#checkExtra();
  }

  async checkAll(): Promise<void> {
    for (const [path, thing] of this.#secrets) await this.#checkSecret(path, thing);
    await this.#checkTokens(this.#tokens);
    for (const [name, { known }] of this.#users) {
      if (known === null) continue;
      await this.#server.must("POST", `auth/userpass/login/${name}`, { password: "a password" });
    }
  }

  async #checkSecret(path: string, thing: Thing): Promise<void> {
    const { status, body } = await this.#server.ask("GET", `kv/data/${path}`);
    if (status !== 200 && status !== 404) fail(`${path}: ${status} ${JSON.stringify(body)}`);
    const found = status === 404 ? null : (body as { data: { data: { n: number; text: string } } }).data.data;
    settle(path, thing, found?.n ?? null);
    if (found !== null && found.n % 50 === 0 && found.text.length !== 100_000) fail(`${path}: half a value`);
    const about = await this.#server.ask("GET", `kv/metadata/${path}`);
    if ((about.status === 404) !== (found === null)) fail(`${path}: metadata says ${about.status}, data ${status}`);
    if (found === null) return;
    const { versions } = (about.body as { data: { versions: Record<string, unknown> } }).data;
    for (const version of Object.keys(versions).slice(-3))
      await this.#server.must("GET", `kv/data/${path}?version=${version}`);
  }

  async #checkUser(name: string, thing: Thing): Promise<void> {
    const { status, body } = await this.#server.ask("GET", `auth/userpass/users/${name}`);
    if (status !== 200 && status !== 404) fail(`${name}: ${status}`);
    settle(name, thing, status === 404 ? null : (body as { data: { token_ttl: number } }).data.token_ttl);
  }

  async #checkTokens(tokens: readonly Token[]): Promise<void> {
    for (const one of tokens) {
      const { status } = await this.#server.ask("GET", "auth/token/lookup-self", undefined, one.token);
      const alive = status === 200;
      if (!alive && status !== 403) fail(`a token: ${status}`);
      if (one.alive !== "maybe" && one.alive !== alive) fail(`a token is ${alive ? "alive" : "gone"}`);
      one.alive = alive;
    }
  }

  /** The mount of this round, which goes after that. */
  async #checkExtra(): Promise<void> {
    const extra = this.#extra;
    this.#extra = null;
    if (extra === null) return;
    const mounts = (await this.#server.must("GET", "sys/mounts")) as { data: Record<string, unknown> };
    const there = Object.hasOwn(mounts.data, `${extra.path}/`);
    if (there && extra.state === "gone") fail(`${extra.path} is mounted again`);
    if (!there && extra.state === "there") fail(`${extra.path} is not mounted`);
    if (!there) return;
    for (const n of extra.data) await this.#server.must("GET", `${extra.path}/data/${n}`);
    await this.#server.must("DELETE", `sys/mounts/${extra.path}`);
  }
}

function thingOf(things: Map<string, Thing>, name: string): Thing {
  let thing = things.get(name);
  if (thing === undefined) things.set(name, (thing = { known: null, asked: null, touched: false }));
  return thing;
}

/** What was found must be what was answered last, or asked last; then it is known. */
function settle(name: string, thing: Thing, found: number | null): void {
  if (found !== thing.known && found !== thing.asked) {
    fail(`${name} is ${String(found)}: answered ${String(thing.known)}, asked ${String(thing.asked)}`);
  }
  thing.known = found;
  thing.asked = found;
  thing.touched = false;
}
