// What one client may cost this side of the door. Server config sets them; tests make them small.

export interface Limits {
  /** Bytes of a request's body. */
  readonly bodyBytes: number;
  /** The same where no valid token is sent with it. */
  readonly strangerBytes: number;
  /** Larger bodies are taken one at a time; the others have so many bytes together while they are read, and small ones,
   *  which take no more than that, have theirs. */
  readonly largeBytes: number;
  readonly heldBytes: number;
  readonly smallBytes: number;
  readonly smallHeldBytes: number;
  /** Milliseconds that a large body waits for its turn, and that it may take to arrive while others wait. */
  readonly turnTimeout: number;
  /** Milliseconds between two large bodies, which are everybody else's. */
  readonly turnPause: number;
  /** Levels of objects and lists in a JSON body. */
  readonly depth: number;
  /** Names and list items in a JSON body together, or fields of a form. */
  readonly members: number;
  /** Bytes of one string in a JSON body, as written there, or of one field of a form. */
  readonly stringBytes: number;
  /** Bytes of request line and headers together. */
  readonly headerBytes: number;
  readonly headers: number;
  /** Milliseconds until the headers are there, and until the whole request is. */
  readonly headersTimeout: number;
  readonly requestTimeout: number;
  /** Milliseconds that an idle connection is kept. */
  readonly keepAliveTimeout: number;
  readonly connections: number;
  /** Bytes of answers that clients have not taken yet, of all together; milliseconds that one may wait for that, and
   *  bytes a second for which it may wait longer. */
  readonly untakenBytes: number;
  readonly untakenTimeout: number;
  readonly untakenRate: number;
  /** What is still read of a request that was answered before it ended, so that its sender gets to see the answer
   *  (RFC 9112 section 9.6): bytes, and milliseconds. */
  readonly lingerBytes: number;
  readonly lingerTimeout: number;
}

export const defaultLimits: Limits = {
  bodyBytes: 32 * 1024 * 1024,
  strangerBytes: 256 * 1024,
  largeBytes: 1024 * 1024,
  heldBytes: 24 * 1024 * 1024,
  smallBytes: 16 * 1024,
  smallHeldBytes: 8 * 1024 * 1024,
  turnTimeout: 30_000,
  turnPause: 100,
  depth: 64,
  members: 100_000,
  stringBytes: 1024 * 1024,
  headerBytes: 16 * 1024,
  headers: 200,
  headersTimeout: 10_000,
  requestTimeout: 90_000,
  keepAliveTimeout: 75_000,
  connections: 16_384,
  untakenBytes: 16 * 1024 * 1024,
  untakenTimeout: 30_000,
  untakenRate: 16 * 1024,
  lingerBytes: 1024 * 1024,
  lingerTimeout: 1_000,
};

/** Bytes of the body of init or unseal, and of all of them while they are read. */
export const keyBodyBytes = 64 * 1024;
export const keyBodiesBytes = 2 * 1024 * 1024;
