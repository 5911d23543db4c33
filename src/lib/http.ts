// node:http without its getters: an import of the module as a whole asks all of them, and one loads Node's fetch, at each
// start 50 ms of CPU and 12 MB for nothing.

import type * as https from "node:https";

const http = process.getBuiltinModule("node:http");

export const createServer = http.createServer;
/** Loads node:https where it is wanted. */
export const createTlsServer = (options: https.ServerOptions): https.Server =>
  process.getBuiltinModule("node:https").createServer(options);
export const request = http.request;
export const IncomingMessage = http.IncomingMessage;
export const ServerResponse = http.ServerResponse;
export const statusTexts = http.STATUS_CODES;
