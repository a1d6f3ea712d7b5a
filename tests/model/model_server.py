#!/usr/bin/env python3
"""A scripted model server: drives a real coding agent offline, speaking OpenAI chat completions on loopback.

    python3 tests/model/model_server.py [--until-stdin-closes]

Prints its port alone on the first line of stdout. What it says is in scripts.py; Python's standard library is all it needs.

The one thing to believe: a test needs no sleeps with it. The pieces of a [[gated]] text leave only when the test says so,
and the test can wait until they have left:

    POST /control/release?gate=default&n=3     lets three more pieces go (n=all: every one from now on)
    GET  /control/wait?gate=default&sent=3     answers once three pieces have gone (timeout_s=30: 408 after that)
    GET  /control/state                        all gates, and how often each scenario was asked for

Beside these: POST /v1/chat/completions (streaming only), GET /v1/models.
"""

import argparse
import itertools
import json
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import scripts

# A gate that nobody opens belongs to a test that has died: the stream ends broken after this long.
GATE_SECONDS = 120
# The arguments of a tool call come in pieces too, as real models send them.
ARGUMENT_PIECE_CHARACTERS = 24


@dataclass
class Gate:
    """Permits given and taken, and pieces gone; `released` None means that all may go."""

    released: int | None = 0
    taken: int = 0
    sent: int = 0

    def take(self):
        if self.released is not None and self.taken >= self.released:
            return False
        self.taken += 1
        return True


class State:
    """What the server counts: its gates, its requests, and the failures of [[flaky]]. One lock, notified on each change."""

    def __init__(self):
        self.changed = threading.Condition()
        self.gates = {}
        self.asked = Counter()
        self.refused = Counter()

    def gate(self, name):
        return self.gates.setdefault(name, Gate())

    def release(self, name, count):
        with self.changed:
            gate = self.gate(name)
            if count is None:
                gate.released = None
            elif gate.released is not None:
                gate.released += count
            self.changed.notify_all()

    def pass_gate(self, name):
        """Waits for a permit; false when none came in time."""
        with self.changed:
            return self.changed.wait_for(self.gate(name).take, GATE_SECONDS)

    def passed(self, name):
        with self.changed:
            self.gate(name).sent += 1
            self.changed.notify_all()

    def wait_sent(self, name, sent, timeout_s):
        with self.changed:
            return self.changed.wait_for(lambda: self.gate(name).sent >= sent, timeout_s)

    def still_refusing(self, name, times):
        """Counts one refusal; false once `times` of them have been made, and then it begins anew."""
        with self.changed:
            if times is None:
                return True
            self.refused[name] += 1
            if self.refused[name] <= times:
                return True
            self.refused[name] = 0
            return False

    def show(self):
        with self.changed:
            return {"gates": {name: vars(gate) for name, gate in self.gates.items()}, "asked": dict(self.asked)}


class BrokenOff(Exception):
    """The stream ends here, without its end."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"  # a stream ends when its connection closes
    numbers = itertools.count(1)

    def log_message(self, *_):
        pass

    def do_GET(self):
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        if url.path == "/control/state":
            self.reply(200, self.server.state.show())
        elif url.path == "/control/wait":
            reached = self.server.state.wait_sent(
                query.get("gate", "default"), int(query["sent"]), float(query.get("timeout_s", 30))
            )
            self.reply(200 if reached else 408, self.server.state.show())
        elif url.path == "/v1/models":
            self.reply(200, {"object": "list", "data": [{"id": "scripted", "object": "model"}]})
        else:
            self.reply(404, {"error": {"message": "no such route"}})

    def do_POST(self):
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if url.path == "/control/release":
            query = dict(parse_qsl(url.query))
            count = query.get("n", "1")
            self.server.state.release(query.get("gate", "default"), None if count == "all" else int(count))
            self.reply(200, self.server.state.show())
        elif url.path == "/v1/chat/completions":
            self.complete(json.loads(body or b"{}"))
        else:
            self.reply(404, {"error": {"message": "no such route"}})

    def complete(self, request):
        name, parts = scripts.answer(request)
        with self.server.state.changed:
            self.server.state.asked[name or "title"] += 1
        if isinstance(parts[0], scripts.Refuse):
            if self.server.state.still_refusing(name, parts[0].times):
                return self.reply(parts[0].status, {"error": {"message": parts[0].message, "type": "scripted"}})
            parts = parts[1:]
        try:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            self.stream(parts, request.get("model", "scripted"))
        except (BrokenOff, BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def stream(self, parts, model):
        identity = {"id": f"chatcmpl-{next(self.numbers)}", "object": "chat.completion.chunk", "model": model}

        def chunk(delta, finish=None, **more):
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            self.send({**identity, "created": int(time.time()), "choices": [choice], **more})

        calls = [part for part in parts if isinstance(part, scripts.Tool)]
        chunk({"role": "assistant", "content": ""})
        for part in parts:
            self.say(part, chunk)
        for index, call in enumerate(calls):
            self.call(index, call, chunk)
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        chunk({}, "tool_calls" if calls else "stop", usage=usage)
        self.wfile.write(b"data: [DONE]\n\n")

    def say(self, part, chunk):
        if isinstance(part, scripts.Text):
            for piece in part.pieces():
                chunk({part.kind: piece})
        elif isinstance(part, scripts.Paced):
            for piece in part.pieces():
                time.sleep(part.delay_s)
                if part.gate and not self.server.state.pass_gate(part.gate):
                    raise BrokenOff
                chunk({"content": piece})
                if part.gate:
                    self.server.state.passed(part.gate)
        elif isinstance(part, scripts.Cut):
            raise BrokenOff

    def call(self, index, call, chunk):
        function = {"name": call.name, "arguments": ""}
        identity = {"index": index, "id": f"call_{next(self.numbers):06d}", "type": "function"}
        chunk({"tool_calls": [{**identity, "function": function}]})
        arguments = json.dumps(call.arguments)
        for at in range(0, len(arguments), ARGUMENT_PIECE_CHARACTERS):
            piece = {"arguments": arguments[at : at + ARGUMENT_PIECE_CHARACTERS]}
            chunk({"tool_calls": [{"index": index, "function": piece}]})

    def send(self, message):
        self.wfile.write(f"data: {json.dumps(message)}\n\n".encode())
        self.wfile.flush()

    def reply(self, status, message):
        data = json.dumps(message).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with the program that started this one")
    arguments = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.state = State()
    print(server.server_port, flush=True)
    if arguments.until_stdin_closes:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()
    else:
        server.serve_forever()


if __name__ == "__main__":
    main()
