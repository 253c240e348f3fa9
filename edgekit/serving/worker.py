"""The process that answers: the runner's own `serve`, one picture after the other."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from edgekit.artifact import Artifact
from edgekit.paths import ONBOARD

WAITING = 8
"""Pictures that may wait for the one that is being answered."""


class Busy(Exception):
    """Too many pictures are waiting."""


class TooSlow(Exception):
    """There was no answer in time; the process was ended."""


class Failed(Exception):
    """The process ended without an answer."""


class Worker:
    """Answers pictures in a process that is started when it is needed, and again after it died.

    `folder` is one of its own, where a picture lies while it is answered.
    """

    def __init__(self, artifact: Artifact, folder: Path) -> None:
        self._artifact, self._folder = artifact, folder
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(WAITING + 1)
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, data: bytes, seconds: float) -> dict[str, Any]:
        """Return the answer to a picture: each output's decision, or `error`.

        `seconds` is the time for waiting and answering together. Raises Busy, TooSlow or Failed.
        """
        end = time.monotonic() + seconds
        if not self._places.acquire(blocking=False):
            raise Busy
        try:
            if not self._lock.acquire(timeout=seconds):
                raise Busy
            try:
                return self._ask(data, end)
            finally:
                self._lock.release()
        finally:
            self._places.release()

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _ask(self, data: bytes, end: float) -> dict[str, Any]:
        picture = self._folder / "picture"
        picture.write_bytes(data)
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = self._started()
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(f"{picture}\n".encode())
            process.stdin.flush()
            while True:
                if not select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
                    self.close()  # what it is at cannot be stopped otherwise
                    raise TooSlow
                line = process.stdout.readline()
                if not line:
                    raise OSError
                event = json.loads(line) if line.startswith(b"{") else {}
                if event.get("event") == "prediction":
                    return {"error": event["error"]} if "error" in event else dict(event["outputs"])
                if "error" in event:
                    self.close()
                    raise Failed(f"the model cannot be run: {event['error']}")
        except OSError:
            self.close()
            raise Failed("the model's process ended: see the terminal of edgekit serve") from None
        finally:
            picture.unlink(missing_ok=True)

    def _started(self) -> subprocess.Popen[bytes]:
        # It ends with its standard input, and so with this process, however that ends.
        command = [sys.executable, str(ONBOARD / "runner.py"), "serve"]
        return subprocess.Popen(
            [*command, str(self._artifact.folder.resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
