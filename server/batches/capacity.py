"""How much of the engine is left for batches: what interactive requests do not take, up to a limit of their own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from server.admission import Admission
from server.engine_port import Engine

LOOK_SECONDS = 0.05  # between two looks at whether there is room


class Capacity:
    """Places for lines of batches. One for each application."""

    def __init__(
        self,
        engine: Engine,
        interactive: Admission,
        batches: Admission,
        *,
        at_once: int,
        max_running: int,
        closing: Callable[[], bool],
    ) -> None:
        """`at_once`: places. `max_running`: sequences that the engine runs at the same time. `closing`: whether
        nothing new shall begin."""
        self.at_once = at_once
        self._engine = engine
        self._interactive = interactive
        self._batches = batches
        self._places = asyncio.Semaphore(at_once)
        self._max_running = max_running
        self._closing = closing

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Waits until a line may run; it may as long as the context is open."""
        async with self._places:
            while not self._free():
                await asyncio.sleep(LOOK_SECONDS)
            yield

    def _free(self) -> bool:
        if self._engine.status.state != "ready" or self._closing():
            return False
        return self._interactive.sequences + self._batches.sequences < self._max_running
