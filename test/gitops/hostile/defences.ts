// The defences by name: what each does, and the lines that take it out. Where several layers stop the same thing, all
// of them are taken out, so that what is seen is what they stop.

import type { Edit } from "./world.ts";

export interface Defence {
  /** Seen only at the program's own pace. */
  readonly unhurried?: true;
  readonly says: string;
  readonly edits: readonly Edit[];
}

const edit = (file: string, from: string, to: string): Edit => ({ file, from, to });
const webhook = (from: string, to: string): Edit => edit("gitops/webhook.ts", from, to);
const github = (from: string, to: string): Edit => edit("gitops/forges/github.ts", from, to);
const tree = (from: string, to: string): Edit => edit("gitops/tree.ts", from, to);
const source = (from: string, to: string): Edit => edit("gitops/source.ts", from, to);
const run = (from: string, to: string): Edit => edit("lib/git.ts", from, to);

const signature = webhook(
  "if (!(await forge.verify(delivery.headers, body, webhook.secrets)))",
  "if (body === secretless)",
);
const secretless: Edit = webhook("const quiet = 10_000;", 'const quiet = 10_000;\nconst secretless = "\\0";');
const fsck = run('"transfer.fsckObjects=true"', '"transfer.fsckObjects=false"');
const names = tree("const fault = nameFault(entry.path);", "const fault = null as string | null;");
const oneBranch = source("const refspec = `+refs/heads/${branch}:${head}`;", "const refspec = `+${branch}:${head}`;");

export const defences = {
  signature: { says: "a delivery is signed by a secret of ours, over its raw bytes", edits: [signature, secretless] },
  sha256: {
    says: "SHA-1 counts for nothing",
    edits: [
      github(
        "if (signature === null || !/^sha256=[0-9a-f]{64}$/u.test(signature)) return false;",
        `const { createHmac } = process.getBuiltinModule("node:crypto");
    const older = [single(headers, "x-hub-signature") ?? "", signature ?? ""].map((each) => each.replace(/^sha(?:1|256)=/u, ""));
    if (secrets.some((secret) => older.includes(createHmac("sha1", secret).update(body).digest("hex")))) return true;
    if (signature === null || !/^sha256=[0-9a-f]{64}$/u.test(signature)) return false;`,
      ),
    ],
  },
  oneSignature: {
    says: "there is one signature, in its one spelling",
    edits: [
      github(
        'const signature = single(headers, "x-hub-signature-256");',
        'const signature = (single(headers, "x-hub-signature-256") ?? "").toLowerCase().split(/[\\s,;]+/u).find((each) => each.startsWith("sha256=")) ?? null;',
      ),
    ],
  },
  exactBytes: {
    says: "the text that is verified has exactly the bytes that were sent",
    edits: [webhook("{ fatal: true, ignoreBOM: true }", "{ fatal: false, ignoreBOM: false }")],
  },
  contentType: {
    says: "a delivery is JSON by its content type",
    edits: [
      github(
        "return JSON.parse(body) as unknown;",
        'return JSON.parse(new URLSearchParams(body).get("payload") ?? body) as unknown;',
      ),
      webhook("if (!/^application\\/json(?:\\s*;\\s*charset=utf-8)?$/iu.test(type))", "if (type === secretless)"),
      secretless,
    ],
  },
  encoding: {
    says: "a body is not compressed",
    edits: [
      webhook(
        'if (single(headers, "content-encoding") !== null)',
        'if (single(headers, "content-encoding") === secretless)',
      ),
      secretless,
    ],
  },
  method: {
    says: "a delivery is posted",
    edits: [webhook('if (method !== "POST")', "if (method === secretless)"), secretless],
  },
  repository: {
    says: "a delivery is about our repository",
    edits: [
      webhook(
        "if (event.repository.toLowerCase() !== webhook.repository.toLowerCase())",
        "if (event.repository === secretless)",
      ),
      secretless,
    ],
  },
  ownFields: {
    says: "what a delivery says stands in its own fields",
    edits: [
      github(
        'const repository = isRecord(payload) ? payload["repository"] : null;',
        `const inner = isRecord(payload) ? (Object.getOwnPropertyDescriptor(payload, "__proto__")?.value ?? payload) : null;
    const repository = isRecord(inner) ? inner["repository"] : null;`,
      ),
    ],
  },
  branch: {
    says: "a delivery is about our branch, by its full name",
    edits: [webhook("if (event.ref !== `refs/heads/${branch}`)", "if (event.ref === secretless)"), secretless],
  },
  types: {
    says: "a ref and a name are texts",
    edits: [
      github(
        'if (typeof ref !== "string" || typeof fullName !== "string") return null;\n    return { type: "push", repository: fullName, ref, deleted: deleted === true };',
        'return { type: "push", repository: String(fullName), ref: String(ref), deleted: deleted === true };',
      ),
    ],
  },
  deleted: {
    says: "a branch that was deleted is nothing to fetch",
    edits: [webhook("if (event.deleted)", "if (event.ref === secretless)"), secretless],
  },
  event: {
    says: "one event, and that a push",
    edits: [
      github("if (name === null || !/^[a-z_]{1,64}$/u.test(name)) return null;", ""),
      github('if (name !== "push") return { type: "other" };', ""),
    ],
  },
  bodyLimit: {
    says: "no more than a mebibyte is read",
    edits: [
      edit("api/body.ts", "if (length > limit) throw tooLarge(limit);", ""),
      edit("api/body.ts", "if (size > this.#limit) throw tooLarge(this.#limit);", ""),
      edit("api/body.ts", "if (body.size <= body.bound) return;", "if (body.size < Infinity) return;"),
      edit("api/body.ts", "Math.min(Math.max(2 * size, leastRoom), this.#most)", "Math.max(2 * size, leastRoom)"),
      edit("api/pot.ts", "if (this.#bytes > this.#most) this.#makeRoom(body);", ""),
    ],
  },
  joinedPieces: {
    unhurried: true,
    says: "a body that comes byte by byte takes no more memory than another",
    edits: [
      edit(
        "api/body.ts",
        "chunk.copy(this.#kept, this.size);",
        "chunk.copy(this.#kept, this.size);\n      ((globalThis as { loose?: Buffer[] }).loose ??= []).push(chunk);",
      ),
    ],
  },
  headerLimit: {
    says: "headers have at most 16 KiB, and there are at most 200",
    edits: [
      edit("api/limits.ts", "headerBytes: 16 * 1024,", "headerBytes: 1024 * 1024,"),
      edit("api/limits.ts", "headers: 200,", "headers: 200_000,"),
    ],
  },
  patience: {
    says: "a request has to be there in time",
    edits: [
      edit("api/listener.ts", "headersTimeout: limits.headersTimeout,", "headersTimeout: 0,"),
      edit("api/listener.ts", "requestTimeout: limits.requestTimeout,", "requestTimeout: 0,"),
    ],
  },
  strictParser: {
    says: "a request has one length, one host and no odd characters",
    edits: [
      edit("api/listener.ts", "insecureHTTPParser: false,", "insecureHTTPParser: true,"),
      edit("api/listener.ts", "requireHostHeader: true,", "requireHostHeader: false,"),
    ],
  },
  oneFlight: {
    unhurried: true,
    says: "any number of wakes cost two fetches a second",
    edits: [edit("gitops/reconciler.ts", "spacing = 1_000 }", "spacing = 0 }")],
  },
  quiet: {
    says: "a flood of refusals is a line in ten seconds",
    edits: [webhook("const quiet = 10_000;", "const quiet = 0;")],
  },

  fsck: { says: "git checks every object that arrives", edits: [fsck] },
  names: { says: "a name means the same on every file system", edits: [names] },
  fsckAndNames: { says: "git checks names, and so does the tree", edits: [fsck, names] },
  oneName: {
    says: "no two names are one on another file system",
    edits: [tree("return other === null ? null :", "return other !== 0 as unknown ? null :")],
  },
  plainFiles: {
    says: "links and submodules are refused",
    edits: [
      tree('if (entry.mode === "120000")', 'if (entry.mode === "-")'),
      tree('if (entry.mode === "160000")', 'if (entry.mode === "--")'),
    ],
  },
  plainFilesChecked: {
    says: "git refuses links of its own names, and so does the tree",
    edits: [fsck, tree('if (entry.mode === "120000")', 'if (entry.mode === "-")')],
  },
  oneBranch: { says: "one branch by its full name", edits: [oneBranch] },
  noTags: { says: "nothing else is fetched along", edits: [source('      "--no-tags",\n', "")] },
  descent: {
    says: "a head builds on what is applied",
    edits: [
      edit("gitops/attempt.ts", "if (base === null || head === null ||", "if (base === null || head !== null ||"),
    ],
  },
  realHistory: {
    says: "history is what the commits say",
    edits: [run('GIT_GRAFT_FILE: "/dev/null",', "")],
  },
  realObjects: { says: "no object stands in for another", edits: [run('GIT_NO_REPLACE_OBJECTS: "1",', "")] },
  noLazyFetch: { says: "a missing object is not fetched from elsewhere", edits: [run('GIT_NO_LAZY_FETCH: "1",', "")] },
  noHooks: { says: "no hook runs", edits: [run('"core.hooksPath=/dev/null",', "")] },
  noSignatures: {
    says: "no program looks at signatures",
    edits: [
      run('"log.showSignature=false",', ""),
      run('"gpg.program=false",', ""),
      source('"--no-show-signature",', ""),
    ],
  },
  noMachine: {
    says: "nothing of the machine's and the user's environment and configuration counts",
    edits: [
      run(
        "const environment: Record<string, string> = {};",
        "const environment = { ...process.env } as Record<string, string>;",
      ),
      run('HOME: "/nonexistent",', ""),
      run('GIT_CONFIG_NOSYSTEM: "1",', ""),
      run('GIT_CONFIG_SYSTEM: "/dev/null",', ""),
      run('GIT_CONFIG_GLOBAL: "/dev/null",', ""),
    ],
  },
  noRedirects: {
    says: "a remote is where config says",
    edits: [run('"http.followRedirects=false",', '"http.followRedirects=true",')],
  },
  noPrompt: {
    says: "nobody is asked for credentials",
    edits: [
      run(
        "const environment: Record<string, string> = {};",
        "const environment = { ...process.env } as Record<string, string>;",
      ),
      run('GIT_ASKPASS: "false",', ""),
      run('SSH_ASKPASS: "false",', ""),
      run('SSH_ASKPASS_REQUIRE: "never",', ""),
    ],
  },
  deadline: {
    says: "a fetch ends in time",
    edits: [
      run(
        'const deadline = setTimeout(() => stop("timeout", `took longer than ${bounds.timeout} ms`), bounds.timeout);',
        "const deadline = undefined;",
      ),
    ],
  },
  memory: { says: "git takes at most so much memory", edits: [run('ulimit -v "$2" 2>/dev/null;', ":;")] },
  blobs: {
    says: "large files pass through in pieces",
    edits: [run('"core.bigFileThreshold=1m",', ""), run('ulimit -v "$2" 2>/dev/null;', ":;")],
  },
  disk: {
    says: "a fetch takes so much of the disk",
    edits: [run('maxFile === undefined ? "-"', 'maxFile === undefined || maxFile > 0 ? "-"')],
  },
  output: {
    says: "git's answers are bounded",
    edits: [run("if (size > bounds.maxOutput)", "if (size > Infinity)")],
  },
  printable: {
    says: "texts of strangers are for reading",
    edits: [edit("gitops/source.ts", '.replaceAll(/[\\s\\p{Cc}\\p{Cf}\\p{Cs}]+/gu, " ")', "")],
  },
  fileBytes: {
    says: "a file has at most so many bytes",
    edits: [tree("else if (entry.size > limits.fileBytes)", "else if (entry.size > Infinity)")],
  },
  fileCount: {
    says: "a commit has at most so many files",
    edits: [tree("if (files.length > limits.files)", "if (files.length > Infinity)")],
  },
  totalBytes: {
    says: "all files have at most so many bytes",
    edits: [
      tree("if (total > limits.totalBytes)", "if (total > Infinity)"),
      edit("lib/blobs.ts", "if (total + size > maxBytes)", "if (total + size > Infinity)"),
    ],
  },

  oneMeaning: {
    says: "a key stands once",
    edits: [edit("gitops/plain.ts", "if (twice) return", "if (twice && value === undefined) return")],
  },
  plainKeys: {
    says: "keys are names that stay what they are",
    edits: [
      edit("gitops/plain.ts", "if (forbiddenKeys.has(name)) return", "if (name === undefined) return"),
      edit("gitops/plain.ts", 'if (name === "\\\\") return', "if (name === undefined) return"),
      edit("gitops/plain.ts", "if (/[\\p{Cc}\\p{Cs}]/u.test(name)) return", "if (name === undefined) return"),
      edit("gitops/plain.ts", 'if (typeof value !== "string") return', "if (name === undefined) return"),
    ],
  },
  plainText: {
    says: "a file is UTF-8 text that shows what it holds",
    edits: [
      edit("gitops/parse.ts", "if (flaw !== null) return refuse(flaw);", ""),
      edit("gitops/parse.ts", "if (odd !== null) {", "if (odd !== null && text === undefined) {"),
    ],
  },
  noSigns: {
    says: "no tag and no directive changes what is read",
    edits: [
      edit(
        "gitops/parse.ts",
        'const message = this.#scalar ? undefined : refusals[lexeme[0] ?? ""];',
        "const message = undefined as string | undefined;",
      ),
      edit("gitops/parse.ts", "[...errors, ...warnings].map", "[...errors].map"),
    ],
  },
  depth: {
    says: "nothing is nested deeper than sixty-four levels",
    edits: [edit("gitops/parse.ts", "else if (this.stack.length > depth)", "else if (this.stack.length > Infinity)")],
  },
  ceiling: {
    says: "Git gives no root and no sudo on sys/",
    edits: [edit("gitops/compile.ts", "if (each.unit.beyond.length > 0) link.ceilings(each, allow);", "")],
  },
  noRoot: {
    says: "nobody is given root",
    edits: [edit("sdk/resourceKind.ts", "return at < 0 ? []", "return at < Infinity ? []")],
  },
  boundaries: {
    says: "a document reads the secrets that server config opens to its folder",
    edits: [edit("gitops/settings.ts", "rules.some(", "rules.length >= 0 || rules.some(")],
  },
  holds: {
    says: "unusual deletions wait for a person",
    edits: [
      edit(
        "gitops/attempt.ts",
        "return reasons.length === 0 ? null : unless(",
        "return reasons.length >= 0 ? null : unless(",
      ),
    ],
  },
  ownPaths: {
    says: "the vault's own paths are nobody else's",
    edits: [
      edit("core/kinds.ts", "reserved.has(first) ?", "reserved.has(`${first}/`) ?"),
      edit("core/kinds.ts", 'path === "token" || path.startsWith("token/");', 'path === "token/";'),
      edit("core/mounts.ts", "if (clash !== null) {", 'if (clash !== null && clash.path === "") {'),
    ],
  },
  adoption: {
    says: "what the API made stays the API's",
    edits: [
      edit(
        "core/target.ts",
        "if (made !== null && declaration.metadata.adopt !== true)",
        "if (made !== null && declaration.metadata === null)",
      ),
      edit(
        "core/target.ts",
        "} else if (made !== null && made.name !== declaration.name) {",
        "} else if (made !== null && made.name === undefined) {",
      ),
    ],
  },
  references: {
    says: "documents refer to what there is",
    edits: [edit("gitops/compile.ts", "if (each.unit.references.length > 0) link.follow(each);", "")],
  },
} as const satisfies Record<string, Defence>;

export type DefenceName = keyof typeof defences;
