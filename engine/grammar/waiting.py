"""WaitingForGrammar: requests whose grammar is being compiled. Not in the scheduler yet, they hold up nobody."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from engine.errors import RequestRefused
from engine.grammar.compiler import BUSY, COMPILE_SECONDS, INVALID, CompiledGrammar, GrammarCompiler
from engine.messages import GenerateRequest


@dataclass(slots=True)
class _Waiting:
    request: GenerateRequest
    compiled: Future[CompiledGrammar]
    deadline: float

    def is_ready(self, now: float) -> bool:
        return self.compiled.done() or now >= self.deadline


class WaitingForGrammar:
    """`clock` in seconds, for the time limit, which waiting for others' grammars counts towards."""

    def __init__(self, compiler: GrammarCompiler, clock: Callable[[], float] = time.monotonic) -> None:
        self._compiler = compiler
        self._clock = clock
        self._waiting: dict[str, _Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: GenerateRequest) -> None:
        """Starts to compile the request's grammar. Raises RequestRefused."""
        assert request.grammar is not None
        compiled = self._compiler.submit(request.grammar)
        self._waiting[request.id] = _Waiting(request, compiled, self._clock() + COMPILE_SECONDS)

    def cancel(self, request_id: str) -> bool:
        """Forgets a request. False if it is not here."""
        waiting = self._waiting.pop(request_id, None)
        if waiting is not None:
            waiting.compiled.cancel()
        return waiting is not None

    def any_ready(self) -> bool:
        """Whether `take` would return something."""
        now = self._clock() if self._waiting else 0.0
        return any(entry.is_ready(now) for entry in self._waiting.values())

    def take(self) -> list[tuple[GenerateRequest, CompiledGrammar | RequestRefused]]:
        """Hands out the requests whose grammar is compiled, or refused, or took too long."""
        if not self._waiting:
            return []
        now = self._clock()
        ready: list[tuple[GenerateRequest, CompiledGrammar | RequestRefused]] = []
        for entry in self._waiting.values():
            if entry.is_ready(now):
                ready.append((entry.request, _result(entry.compiled)))
        for request, _ in ready:
            self._waiting.pop(request.id).compiled.cancel()
        return ready


def _result(compiled: Future[CompiledGrammar]) -> CompiledGrammar | RequestRefused:
    if not compiled.done():
        text = (
            f"the grammar could not be compiled within {COMPILE_SECONDS:.0f} s, others being before it: try again later"
        )
        return RequestRefused(text, BUSY)
    error = compiled.exception()
    if error is None:
        return compiled.result()
    if isinstance(error, RequestRefused):
        return error
    return RequestRefused(f"the grammar cannot be used: {error}", INVALID)  # what the library raises or panics with
