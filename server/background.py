"""What an application does beside answering requests: services that run as long as it does, and tasks that outlast
the request which began them."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

PAUSE_SECONDS = 5.0  # before a service that failed is started again
STOP_SECONDS = 2.0  # between two attempts to cancel
log = logging.getLogger("abruzzi.background")


class Background:
    """Services begin with `start`; tasks may be spawned at any time. `stop` ends both."""

    def __init__(self) -> None:
        self._services: dict[str, Callable[[], Awaitable[None]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def add(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """A service. If it fails, that is logged and it is started again."""
        self._services[name] = run

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Runs `work`, for whose result nobody waits. What it raises is logged."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def start(self) -> None:
        for name, run in self._services.items():
            self.spawn(_serve(name, run))

    async def stop(self) -> None:
        """Cancels all and waits for them."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            # Again after a while: asyncio loses a cancellation now and then, and some begin to tidy up.
            await asyncio.wait(set(self._tasks), timeout=STOP_SECONDS)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.start()
        try:
            yield
        finally:
            await self.stop()

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("work in the background failed", exc_info=error)


async def _serve(name: str, run: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await run()
            return
        except Exception:
            log.exception("%s failed; it is started again in %g s", name, PAUSE_SECONDS)
        await asyncio.sleep(PAUSE_SECONDS)
