"""GrammarTrial: the engine's side of engine/grammar/probe.py. Tries one grammar at a time; knows no cache."""

import contextlib
import json
import subprocess
import sys
import threading
import weakref
from pathlib import Path

from engine.grammar.source import GrammarError

# Imports the same packages as this process, and nothing from the current folder.
_START = "import sys; sys.path.insert(0, sys.argv[1]); from engine.grammar.probe import main; main()"


class OutOfTime(Exception):
    """The trial was ended at its limit of processor time."""


class GrammarTrial:
    """Starts its process at the first grammar, and again if that should end."""

    def __init__(self, control_names: tuple[str, ...]) -> None:
        self._names = control_names
        self._process: subprocess.Popen[bytes] | None = None
        self._end: weakref.finalize[..., GrammarTrial] | None = None
        self._lock = threading.Lock()

    def run(self, source: str, seconds: float) -> int:
        """Returns the bytes that compiling it took. Raises GrammarError, or OutOfTime after `seconds` of processor
        time."""
        with self._lock:
            answer = json.loads(self._asked(json.dumps([seconds, len(source.encode())]), source) or '{"killed": ""}')
        if answer.get("killed") == "time":
            raise OutOfTime
        if "killed" in answer:
            raise GrammarError("compiling it takes too much memory or is nested too deeply: make it simpler")
        if "error" in answer:
            raise GrammarError(answer["error"])
        taken: int = answer["bytes"]
        return taken

    def _asked(self, head: str, source: str) -> bytes:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(head.encode() + b"\n" + source.encode())
            process.stdin.flush()
            return process.stdout.readline()
        except OSError:
            return b""  # the process has ended

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            if self._end is not None:
                self._end()
            root = str(Path(__file__).resolve().parents[2])
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            self._end = weakref.finalize(self, _ended, self._process)
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(self._names).encode() + b"\n")
        return self._process


def _ended(process: "subprocess.Popen[bytes]") -> None:
    """Ends the process by its standard input."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(OSError):  # it had ended with something unread
        process.stdin.close()
    process.kill()
    process.wait()
    process.stdout.close()
