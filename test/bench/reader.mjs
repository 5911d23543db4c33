// A client of its own process that reads at a constant rate, whatever the server does meanwhile: a latency counts from the
// moment at which the read was due. Told over IPC: { go } begins, "cut" ends a window and answers with its latencies.

import { Agent, request } from "node:http";
import { performance } from "node:perf_hooks";

let latencies = [];
let failures = [];

process.on("message", (told) => {
  if (told === "cut") {
    process.send({ latencies, failures });
    latencies = [];
    failures = [];
  } else if (told === "end") process.exit(0);
  else if (told.go !== undefined) go(told.go);
});

function go({ port, path, token, perSecond }) {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const options = { host: "127.0.0.1", port, path, agent, headers: { "X-Vault-Token": token } };
  const every = 1_000 / perSecond;
  let due = performance.now();
  const read = (at) => {
    const outgoing = request(options, (answer) => {
      answer.resume().on("end", () => {
        latencies.push(performance.now() - at);
        if (answer.statusCode !== 200) failures.push(answer.statusCode);
      });
    });
    outgoing.on("error", (error) => failures.push(error.message));
    outgoing.end();
  };
  const tick = () => {
    for (const now = performance.now(); due <= now; due += every) read(due);
    setTimeout(tick, 1);
  };
  tick();
}
