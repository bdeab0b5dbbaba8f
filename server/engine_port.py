"""What the server needs of the engine, as a protocol: `engine.EngineClient` has it, and so does the tests' double."""

from collections.abc import AsyncGenerator, Callable
from typing import Protocol

from engine import EngineStats, GenerateRequest, Ready, StepOutput, StepReport


class Status(Protocol):
    """The engine's state in a word, a line for a person, and how far loading has come (0 to 1)."""

    @property
    def state(self) -> str: ...
    @property
    def detail(self) -> str: ...
    @property
    def progress(self) -> float: ...


class Engine(Protocol):
    """A running, loading or dead engine."""

    @property
    def status(self) -> Status: ...
    @property
    def ready(self) -> Ready | None: ...
    @property
    def stats(self) -> EngineStats: ...
    @property
    def restarts(self) -> int: ...

    def observe(self, callback: Callable[[StepReport], None]) -> None:
        """Has `callback` called with each step's report."""

    def generate(self, request: GenerateRequest) -> AsyncGenerator[StepOutput, None]:
        """The outputs of one sequence, the last with a finish reason. Closing it early cancels the sequence.

        Raises EngineUnavailable (not ready, or died midway), RequestRefused, StepFailed and RequestCancelled.
        """

    def cancel(self, request_id: str) -> None:
        """Ends a sequence for whoever reads its outputs, with RequestCancelled. Unknown ids are ignored."""
