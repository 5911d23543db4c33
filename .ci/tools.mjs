// `npm run tools`: what the longer proofs run beside the vault, unpacked into .cache and never installed: programs of Debian
// (a load client, `age`, `strace`), and packages of PyPI by the lists in .ci/python, each file pinned by its hash. Where
// they cannot be had, what needs one skips, and says so.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";

const cache = resolve(import.meta.dirname, "../.cache/debian");
const pythonCache = resolve(import.meta.dirname, "../.cache/python");
const lists = resolve(import.meta.dirname, "python");

/** Packages by command: its own, and libraries that a plain Debian lacks. Others come from the system. */
const packages = {
  age: ["age"],
  fish: ["fish", "fish-common", "libpcre2-32-0"],
  jq: ["jq", "libjq1", "libonig5"],
  strace: ["strace", "libunwind8"],
  wrk: ["wrk", "libluajit-5.1-2", "libluajit-5.1-common"],
  zsh: ["zsh", "zsh-common"],
};

const run = (command, args, cwd) =>
  spawnSync(command, args, { cwd, stdio: ["ignore", "ignore", "pipe"], encoding: "utf8", timeout: 600_000 });

/** Why a command failed, in a line; what cannot be run at all is not tried again. */
const faultOf = (what, { error, stderr }) => ({
  text: `${what}: ${(error?.message ?? stderr ?? "").trim().split("\n").at(-1)}`,
  final: error?.code === "ENOENT",
});

/** Null, or the last fault. A network has its moments: in CI, where nothing may be left out, what fails is tried again. */
function insist(attempt) {
  let fault = null;
  for (const seconds of process.env.CI ? [0, 2, 8, 30, 60] : [0]) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, seconds * 1000);
    fault = attempt();
    if (fault === null || fault.final) break;
  }
  return fault?.text ?? null;
}

/** Where the unpacked programs and libraries are, by command. */
function places(name) {
  const root = join(cache, name);
  // Some releases have shells in /bin.
  const bins = ["usr/bin", "bin"].map((folder) => join(root, folder));
  const triplets = existsSync(join(root, "usr/lib")) ? readdirSync(join(root, "usr/lib")) : [];
  const bin = bins.find((folder) => existsSync(join(folder, name))) ?? bins[0];
  return { bin, lib: triplets.map((each) => join(root, "usr/lib", each)).join(delimiter) };
}

const works = (name) => existsSync(join(places(name).bin, name));

function unpack(name) {
  const draft = join(cache, `${name}.${process.pid}`);
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(join(draft, "debs"), { recursive: true });
  try {
    const got = run("apt-get", ["-o", "Acquire::Retries=3", "download", ...packages[name]], join(draft, "debs"));
    if (got.status !== 0) return faultOf("apt-get download", got);
    for (const file of readdirSync(join(draft, "debs"))) {
      const done = run("dpkg", ["-x", join(draft, "debs", file), draft]);
      if (done.status !== 0) return faultOf(`dpkg -x ${file}`, done);
    }
    rmSync(join(draft, "debs"), { recursive: true });
    rmSync(join(cache, name), { recursive: true, force: true });
    renameSync(draft, join(cache, name));
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
  return works(name) ? null : { text: "the package has no such command", final: true };
}

/** The environment in which a command of the table is found; null, with the reason on standard error, where it is not to
 *  be had. `CI` makes that a failure elsewhere: a test that skips fails there. */
export function environmentOf(name) {
  if (!works(name)) {
    const fault = insist(() => {
      const first = unpack(name);
      // A new machine has no lists of packages yet, and old ones name packages that are gone.
      return first !== null && run("apt-get", ["update"]).status === 0 ? unpack(name) : first;
    });
    if (fault !== null) {
      console.error(`${name} is not to be had (${fault}): what needs it is skipped`);
      return null;
    }
  }
  const { bin, lib } = places(name);
  const before = (first, rest) => (rest ? `${first}${delimiter}${rest}` : first);
  return { PATH: before(bin, process.env.PATH), LD_LIBRARY_PATH: before(lib, process.env.LD_LIBRARY_PATH) };
}

/** `env`: where `python3` finds the packages of .ci/python/NAME.txt; `bin`: the folder of their commands. Null likewise. */
export function pythonOf(name) {
  const list = join(lists, `${name}.txt`);
  const hash = createHash("sha256").update(readFileSync(list)).digest("hex").slice(0, 16);
  // What is installed is what the list says now.
  const place = join(pythonCache, `${name}-${hash}`);
  if (!existsSync(place)) {
    const draft = `${place}.${process.pid}`;
    rmSync(draft, { recursive: true, force: true });
    const flags = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-deps", "--require-hashes"];
    const only = ["--only-binary", ":all:"];
    const fault = insist(() => {
      const got = run("python3", ["-m", "pip", "install", ...flags, ...only, "--target", draft, "--requirement", list]);
      if (got.status === 0) return null;
      rmSync(draft, { recursive: true, force: true });
      return faultOf("python3 -m pip install", got);
    });
    if (fault !== null) {
      console.error(`${name} is not to be had (${fault}): what needs it is skipped`);
      return null;
    }
    try {
      renameSync(draft, place);
    } catch (error) {
      // Another process was faster.
      if (!existsSync(place)) throw error;
      rmSync(draft, { recursive: true, force: true });
    }
  }
  const env = { PATH: process.env.PATH, PYTHONPATH: place, PYTHONDONTWRITEBYTECODE: "1" };
  return { env, bin: join(place, "bin") };
}

if (process.argv[1] === import.meta.filename) {
  const pythonNames = readdirSync(lists).map((file) => file.replace(/\.txt$/, ""));
  const lost = [
    ...Object.keys(packages).filter((name) => environmentOf(name) === null),
    ...pythonNames.filter((name) => pythonOf(name) === null),
  ];
  if (lost.length > 0) process.exitCode = 1;
}
