"""A hub to talk to: the one that the environment names, or the built binary, started for this run alone.

    BELLBOARD_ADDR=127.0.0.1:2355 BELLBOARD_KEY=...   a hub that runs already
    BELLBOARD_BIN=target/debug/bellboard              the binary to start otherwise (this is the default)
"""

import os
import re
import subprocess
import tempfile
import threading
from pathlib import Path

import grpc

from contract import ROOT, session_events_grpc, subscribe_grpc

# Every wait ends. Starting a debug build on a busy machine takes a second or two.
START_SECONDS = 30
CALL_SECONDS = 30


class Hub:
    """A connection with a key, and the process behind it when we started one."""

    def __init__(self):
        self.process = None
        self.folder = None
        address, key = os.environ.get("BELLBOARD_ADDR"), os.environ.get("BELLBOARD_KEY")
        if not address:
            address, key = self.start()
        self.metadata = [("authorization", f"Bearer {key}")]
        self.channel = grpc.insecure_channel(address)
        self.session_events = session_events_grpc.SessionEventsServiceStub(self.channel)
        self.subscribe = subscribe_grpc.SubscribeServiceStub(self.channel)

    def start(self):
        """Starts the binary on a port of the system's choice; returns its address and its local key."""
        binary = Path(os.environ.get("BELLBOARD_BIN") or ROOT / "target/debug/bellboard")
        self.folder = tempfile.TemporaryDirectory(prefix="bellboard-hub-")
        command = [binary, "serve", "--data-dir", self.folder.name, "--listen", "127.0.0.1:0"]
        # An environment of its own: settings of whoever runs the tests must not change what is tested.
        environment = {"PATH": os.environ["PATH"], "HOME": self.folder.name, "NO_COLOR": "1"}
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        watchdog = threading.Timer(START_SECONDS, self.process.kill)
        watchdog.start()
        address = self.read_address()
        watchdog.cancel()
        # Read on, so that a full pipe never stops the hub.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        return address, Path(self.folder.name, "local.key").read_text().strip()

    def read_address(self):
        printed = []
        for line in self.process.stdout:
            printed.append(line)
            if found := re.search(r"http://(127\.0\.0\.1:\d+)", line):
                return found[1]
        raise AssertionError(f"the hub ended without telling its address; it said: {''.join(printed)!r}")

    def call(self, method, request):
        """A unary call with the key and a deadline."""
        return method(request, metadata=self.metadata, timeout=CALL_SECONDS)

    def close(self):
        self.channel.close()
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()
        if self.folder:
            self.folder.cleanup()
