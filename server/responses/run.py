"""One response that is made in the background: its work, and what is written of it on the way."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from server.errors import NotFound, QueueFull, Unavailable
from server.generation import Generation
from server.http import report
from server.responses.answer import ACTIVE
from server.responses.asked import RESUMABLE, Asked, Desk
from server.responses.output import Told
from server.responses.past import EVENTS, RESPONSE
from server.store.rows import Item
from server.store.store import Store
from server.store.transactions import LeaseLost

T = TypeVar("T")
BATCH_SECONDS = 0.05  # between two writes of events
RETRY_SECONDS = 2.0  # until a full or failing part of the server is tried again
log = logging.getLogger("abruzzi.responses")


class AlreadyOver(Exception):
    """The response was over before."""


class Run:
    """A response at work in this process, which holds its lease. `news` is set, and replaced, when events were
    written. Raises LeaseLost, or NotFound if it is deleted meanwhile."""

    def __init__(self, store: Store, desk: Desk, asked: Asked, *, begun: bool = False) -> None:
        """`begun`: whether it is known to be in progress."""
        self.asked = asked
        self.answer = asked.answer()
        self.pending: list[Told] = []  # events that are not written yet
        self.news = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._store = store
        self._desk = desk
        self._begun = begun

    def notify(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    def _tell(self, told: list[Told]) -> None:
        if self.asked.streamed_later:
            self.pending += told

    async def again(self) -> None:
        """After a server died over it."""

        def count(body: dict[str, Any]) -> dict[str, Any]:
            return {**body, "attempts": body["attempts"] + 1}

        asked = self.asked
        await _retried(lambda: self._store.change(RESPONSE, asked.id, asked.owner, count, held=True))
        try:
            generation = await _retried(lambda: self._desk.begin(asked, 0))
        except Exception as error:
            self._tell(self.answer.fail(report(error, asked.id)))
            await self._settle()
            return
        await self.generate(generation)

    async def generate(self, generation: Generation) -> None:
        """Makes the response, and closes the generation."""
        loop = asyncio.get_running_loop()
        written = 0.0
        try:
            async for _, event in generation:
                if not self._begun:
                    await self._begin()
                self._tell(self.answer.feed(event))
                if self.pending and not self.answer.over and loop.time() - written >= BATCH_SECONDS:
                    await self._write()
                    written = loop.time()
        except (LeaseLost, NotFound):
            raise
        except Exception as error:
            self._tell(self.answer.fail(report(error, self.asked.id)))
        finally:
            await generation.aclose()
        await self._settle()

    async def _begin(self) -> None:
        """The first output is there."""
        asked, begun = self.asked, self.answer.begun()
        add = {EVENTS: items_of([begun])} if asked.streamed_later else {}

        def edit(body: dict[str, Any]) -> dict[str, Any]:
            return {**body, "response": begun["response"]}

        async def write() -> None:
            await self._store.change(RESPONSE, asked.id, asked.owner, edit, add=add, held=True)
            self._begun = True

        await _retried(lambda: _to_its_end(write()))
        self.notify()

    async def _write(self) -> None:
        """Events that cannot be written now wait for the next time."""
        batch = list(self.pending)

        async def write() -> None:
            await self._store.add_items(RESPONSE, self.asked.id, self.asked.owner, EVENTS, items_of(batch), held=True)
            del self.pending[: len(batch)]

        try:
            await _to_its_end(write())
        except Unavailable:
            log.debug("events of %s have to wait until the store can be used again", self.asked.id)
        else:
            self.notify()

    async def _settle(self) -> None:
        """Writes the end, and what the conversation gets, at once."""
        asked = self.asked
        while True:
            response = self.answer.response
            told = [*self.pending, self.answer.ended()] if asked.streamed_later else []
            elsewhere = asked.elsewhere(response)
            change = self._store.change(
                RESPONSE,
                asked.id,
                asked.owner,
                ending(response),
                add={EVENTS: items_of(told)},
                elsewhere=elsewhere,
                active=False,
                held=True,
            )
            try:
                await _to_its_end(change)
                return
            except Unavailable:
                await asyncio.sleep(RETRY_SECONDS)
            except NotFound as error:
                if not elsewhere:
                    raise
                self._tell(self.answer.fail(error))  # the conversation was deleted meanwhile


def ending(response: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What writes the end of a response; raises AlreadyOver if it has one."""

    def edit(body: dict[str, Any]) -> dict[str, Any]:
        if body["response"]["status"] not in ACTIVE:
            raise AlreadyOver
        return {name: value for name, value in body.items() if name not in RESUMABLE} | {"response": response}

    return edit


def items_of(told: Sequence[Told]) -> list[Item]:
    """Events as they are stored. An event's place in its list is its sequence number."""
    return [Item(one["type"], one) for one in told]


async def _retried(attempt: Callable[[], Awaitable[T]]) -> T:
    """The first attempt that does not come at a bad time."""
    while True:
        try:
            return await attempt()
        except (Unavailable, QueueFull):
            await asyncio.sleep(RETRY_SECONDS)


async def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """As `await`, but a cancellation takes effect only after the work: it is known whether it was done."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise
