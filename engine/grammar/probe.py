"""The process that tries grammars before the engine compiles them. Each is compiled in a child of its own, within
limits of time and memory that the system keeps: what runs over them, or crashes the library, ends that child only.

    engine ── names of the control tokens, then (seconds, source) after (seconds, source) ──▶ this ── fork ──▶ child
    engine ◀── {"bytes"}, with {"error"} or {"killed"}, for each ── this ◀────────────────────────────────────┘

Its vocabulary is the 256 bytes and the control tokens, so that it is small. It ends when its standard input does.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
from llguidance import LLExecutor, LLMatcher, LLTokenizer, TokenizerWrapper
from llguidance.numpy import fill_next_token_bitmask_par

from engine.grammar.source import STACK_BYTES, GrammarError, compile_source, with_deep_stack

MAX_BYTES = 2**30  # that a child may take beside its stack


class _Bytes:
    """What `TokenizerWrapper` asks for."""

    def __init__(self, control_names: list[str]) -> None:
        self.tokens = [bytes([byte]) for byte in range(256)] + [name.encode() for name in control_names] + [b"<|end|>"]
        self.special_token_ids = list(range(256, len(self.tokens)))
        self.eos_token_id = len(self.tokens) - 1
        self.bos_token_id = None

    def __call__(self, text: str | bytes) -> list[int]:
        if isinstance(text, bytes):  # the wrapper tries which of the two is taken
            raise TypeError("text, not bytes")
        return list(text.encode())


def main() -> None:
    """Answers until the standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the server, which ends this one
    vocabulary = _Bytes(json.loads(sys.stdin.buffer.readline()))
    library, size = LLTokenizer(TokenizerWrapper(vocabulary)), vocabulary.eos_token_id
    compile_source("start: %json {}", library, size)  # the library's own memory, once
    idle = _tried("start: %json {}", 60.0, library, size)["bytes"]  # what a child touches in any case
    while head := sys.stdin.buffer.readline():
        seconds, length = json.loads(head)
        source = sys.stdin.buffer.read(length).decode()
        answer = _tried(source, seconds, library, size)
        answer["bytes"] = max(0, answer.get("bytes", 0) - idle)
        print(json.dumps(answer), flush=True)


def _tried(source: str, seconds: float, library: LLTokenizer, size: int) -> dict[str, Any]:
    receiving, sending = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(receiving)
        _limit(seconds)
        os.write(sending, json.dumps(_compiled(source, library, size)).encode())
        os._exit(0)
    os.close(sending)
    with os.fdopen(receiving, "rb") as pipe:
        said = pipe.read()
    status = os.waitpid(pid, 0)[1]
    if said:
        answer: dict[str, Any] = json.loads(said)
        return answer
    return {"killed": "time" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF else "crash"}


def _limit(seconds: float) -> None:
    """`seconds` of processor time, not of waiting for a processor."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + STACK_BYTES + MAX_BYTES,) * 2)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _compiled(source: str, library: LLTokenizer, size: int) -> dict[str, Any]:
    before = _peak()
    result: dict[str, Any] = {}

    def work() -> None:
        try:
            matcher = compile_source(source, library, size)
            _use(matcher, library)
        except GrammarError as error:
            result["error"] = str(error)
        except BaseException as error:  # what the library panics with
            result["error"] = f"the library failed on it: {str(error)[:200]}"

    with_deep_stack(work)
    return {"bytes": _peak() - before, **result}


def _use(matcher: LLMatcher, library: LLTokenizer) -> None:
    """A mask as the engine computes it: in a thread of the library's, with its small stack."""
    bits = np.zeros((1, (library.vocab_size + 31) // 32), dtype=np.int32)
    fill_next_token_bitmask_par(LLExecutor(num_threads=1), [(matcher.deep_copy(), 0)], bits)


def _peak() -> int:
    """The most memory that this process has had."""
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


if __name__ == "__main__":
    main()
