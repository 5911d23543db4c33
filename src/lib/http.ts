// node:http without its getters: an import of the module as a whole asks all of them, and one loads Node's fetch, at each
// start 50 ms of CPU and 12 MB for nothing.

const http = process.getBuiltinModule("node:http");

export const createServer = http.createServer;
export const request = http.request;
export const IncomingMessage = http.IncomingMessage;
export const statusTexts = http.STATUS_CODES;
