# Runs a program in a terminal of its own, as a person at the keys would: waits for what it says, then types. The task comes
# as JSON on standard input, what was seen goes out as JSON. Only Python's own modules are used.

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

task = json.load(sys.stdin)
child, terminal = pty.fork()
if child == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", task["rows"], task["columns"], 0, 0))
    os.chdir(task["cwd"])
    os.execvpe(task["argv"][0], task["argv"], task["env"])

ECHO, CANONICAL = termios.ECHO, termios.ICANON


def modes():
    local = termios.tcgetattr(terminal)[3]
    return {"echo": bool(local & ECHO), "lines": bool(local & CANONICAL)}


output = b""
seen = 0
steps = list(task["steps"])
found = []
status = None
deadline = time.monotonic() + task["seconds"]
while time.monotonic() < deadline:
    ready, _, _ = select.select([terminal], [], [], 0.02)
    if ready:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:
            chunk = b""
        output += chunk
        if chunk == b"" and status is not None:
            break
        if chunk != b"":
            # All that is there belongs to one moment.
            continue
    if steps:
        at = output.find(steps[0]["wait"].encode(), seen)
        if at >= 0:
            step = steps.pop(0)
            seen = at + len(step["wait"].encode())
            found.append(modes())
            if "signal" in step:
                os.kill(child, getattr(signal, step["signal"]))
            if "type" in step:
                os.write(terminal, step["type"].encode("latin-1"))
            continue
    if status is None:
        ended, code = os.waitpid(child, os.WNOHANG)
        if ended:
            status = code
            last = modes()
    elif not ready:
        break
if status is None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    last = modes()
json.dump(
    {
        "output": output.decode("utf-8", "replace"),
        "code": None if status is None else os.waitstatus_to_exitcode(status),
        "waited": [step["wait"] for step in steps],
        "modes": found,
        "last": last,
    },
    sys.stdout,
)
