"""Runs batches in the background: new ones, and those that a process left behind which ended before they did."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from server.background import Background
from server.batches.batch import KIND
from server.batches.work import Tools, Work
from server.errors import Unavailable
from server.store.rows import Stored
from server.store.transactions import LeaseLost

AT_ONCE = 8  # batches; each of them reads a file and holds some of its lines
LOOK_SECONDS = 3.0  # between two looks for batches that nobody works on
PAUSE_SECONDS = 5.0  # when the store cannot be used
log = logging.getLogger("abruzzi.batches")


class Runner:
    """One for each application. `beside`: where its requests leave what goes on behind their answer."""

    def __init__(self, tools: Tools, models: Sequence[str], beside: Background) -> None:
        self._tools = tools
        self._models = models
        self._beside = beside
        self._waiting: asyncio.Queue[Stored] = asyncio.Queue()
        self._known: set[str] = set()  # waiting or worked on

    def submit(self, batch: Stored) -> None:
        """A batch whose lease this process holds."""
        if batch.id not in self._known:
            self._known.add(batch.id)
            self._waiting.put_nowait(batch)

    async def run(self) -> None:
        """For ever."""
        if not self._tools.store.enabled:
            return
        workers = [asyncio.ensure_future(self._work()) for _ in range(AT_ONCE)]
        try:
            while True:
                with contextlib.suppress(Unavailable):
                    for batch in await self._tools.store.take_over(KIND, self._models):
                        self.submit(batch)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await self._beside.stop()

    async def _work(self) -> None:
        while True:
            batch = await self._waiting.get()
            try:
                await self._see_through(batch)
            except LeaseLost:
                log.warning("%s is worked on elsewhere", batch.id)
            except Exception:
                log.exception("%s is given up by this process", batch.id)
            finally:
                self._known.discard(batch.id)

    async def _see_through(self, batch: Stored) -> None:
        """Goes on until the batch is over, whatever the store does meanwhile."""
        while batch.active:
            try:
                await Work(self._tools, batch).run()
                return
            except Unavailable:
                await asyncio.sleep(PAUSE_SECONDS)
            except LeaseLost:
                raise
            except Exception:
                log.exception("%s failed", batch.id)
                await Work(self._tools, batch).fail("internal_error", "The server failed; its log has the reason.")
                return
            with contextlib.suppress(Unavailable):
                batch = await self._tools.store.get(KIND, batch.id, batch.owner)
