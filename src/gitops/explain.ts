// What a failed git run, or a failed look at the branch, means for people: whose fault it is and what to do, without git's own
// words, which may hold paths of the server. Those go to the log.

import { GitError } from "../lib/git.ts";
import { isVaultError, type Problem } from "../sdk/errors.ts";
import { ApplyError } from "../sdk/kind.ts";

/** Who is to mend it: the remote and the way to it, what was pushed, or our clone (which is made anew). */
export type Cause = "remote" | "content" | "clone";

/** Reading the repository failed. `message` may be shown to clients; `detail` goes to the log. */
export class SourceError extends Error {
  override readonly cause: Cause;
  readonly detail: string;
  override readonly name = "SourceError";
  constructor(message: string, cause: Cause, detail: string) {
    super(message);
    this.cause = cause;
    this.detail = detail;
  }
}

const table: readonly { readonly sign: RegExp; readonly cause: Cause; readonly message: string }[] = [
  {
    sign: /couldn't find remote ref/iu,
    cause: "remote",
    message: "the remote has no such branch: check `branch`, or push it",
  },
  {
    sign: /host key verification failed|REMOTE HOST IDENTIFICATION/iu,
    cause: "remote",
    message: "the remote's host key is not the pinned one: check known_hosts_file, and who answers there",
  },
  {
    sign: /certificate|SSL|TLS|gnutls/iu,
    cause: "remote",
    message: "the remote's certificate is not trusted: check ca_file, and who answers there",
  },
  {
    sign: /permission denied|authentication failed|could not read (username|password)|returned error: 40[13]|askpass/iu,
    cause: "remote",
    message: "the remote refuses the credentials: check deploy_key_file or token_file and what they may read",
  },
  {
    sign: /repository .*not found|returned error: 404|does not appear to be a git repository|dubious ownership/iu,
    cause: "remote",
    message: "there is no such repository at the remote, or it may not be read: check `remote` and the credentials",
  },
  {
    sign: /transport '.*' not allowed|redirect|returned error: 30\d/iu,
    cause: "remote",
    message: "the remote leads to another place or transport, which is not followed: configure the final address",
  },
  {
    sign: /could not resolve|couldn't resolve|connection (refused|timed out|reset|closed)|could(n't| not) connect|failed to connect|network is unreachable|no route to host|operation timed out|returned error: 5\d\d|early EOF|hung up unexpectedly|kex_exchange|unexpected disconnect|couldn't connect/iu,
    cause: "remote",
    message: "the remote cannot be reached: it is tried again",
  },
  {
    sign: /fsck error|in fsck|fsckObjects|hasDot|gitmodules|zeroPadded|badTree|duplicateEntries|fullPathname/iu,
    cause: "content",
    message: "git refuses an object of the branch (fsck): remove the commit that brought it from the history",
  },
  {
    sign: /file size limit|SIGXFSZ|file too large|signal 25/iu,
    cause: "remote",
    message: "the fetch is larger than limits.fetch_bytes: raise it, or use a repository with less in it",
  },
  {
    sign: /out of memory|mmap failed|unable to create thread/iu,
    cause: "content",
    message:
      "git needs more memory for the branch than it is given: remove the object that is so large from the history",
  },
  {
    sign: /no space left/iu,
    cause: "remote",
    message: "the server's disk is full",
  },
];

/** Anything thrown while reading the repository, as a SourceError. */
export function explain(error: unknown): SourceError {
  if (error instanceof SourceError) return error;
  if (!(error instanceof GitError)) {
    const detail = error instanceof Error ? error.message : "";
    return new SourceError("the server cannot keep its clone: its log says why", "remote", detail);
  }
  const detail = `${error.message}\n${error.detail}`;
  if (error.reason === "timeout") {
    return new SourceError("the remote took too long (limits.fetch_timeout): it is tried again", "remote", detail);
  }
  if (error.reason === "output") {
    const message = "git says more of the commit than is read: too many files (limits.files), or too long a subject";
    return new SourceError(message, "content", detail);
  }
  if (error.reason === "spawn") return new SourceError("git cannot be started on the server", "remote", detail);
  if (error.reason === "aborted") return new SourceError("stopped", "remote", detail);
  const found = table.find(({ sign }) => sign.test(detail));
  if (found !== undefined) return new SourceError(found.message, found.cause, detail);
  return new SourceError("git failed: the server's log has its words", "clone", detail);
}

interface Meaning {
  /** For clients. */
  readonly message: string;
  readonly problems: readonly Problem[];
  /** For the log only. */
  readonly detail: string;
}

/** Anything thrown while a commit is worked on. */
export function meaning(error: unknown): Meaning {
  if (error instanceof SourceError) return { message: error.message, problems: [], detail: error.detail };
  if (error instanceof ApplyError) {
    const message = "the running vault cannot take this commit; nothing was changed";
    return { message, problems: error.problems, detail: "" };
  }
  if (isVaultError(error, "audit")) {
    return { message: "no audit device kept the entry: nothing was applied", problems: [], detail: error.message };
  }
  const detail = error instanceof Error ? (error.stack ?? error.message) : "";
  return { message: "applying failed inside the server: its log says why", problems: [], detail };
}
