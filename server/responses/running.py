"""Responses that are made in the background. All that a client can know of one is in the store before it is told:

    put ── queued ── in_progress ── events in batches ── change: over, the last events, the conversation's items
    '----------------- active: taken over if the server dies ---------------'

One that died before it told anybody anything is done again from its request; one that had begun to tell its events
ends as failed, since other words would follow those that a client has read. Either way there is one end.
"""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

from server.background import Background
from server.errors import NotFound, Unavailable
from server.generation import Generation
from server.http import report
from server.responses.answer import ACTIVE, Answer
from server.responses.asked import Asked, Desk
from server.responses.output import Output, Told
from server.responses.past import EVENTS, RESPONSE
from server.responses.run import AlreadyOver, Run, ending, items_of
from server.served_model import ServedModel
from server.store.rows import Stored
from server.store.store import Store
from server.store.transactions import LeaseLost

POLL_SECONDS = 5.0  # between two looks for responses whose server died
MAX_ATTEMPTS = 3
BEGINNING = 3  # events that say nothing of the output: created, queued, in_progress
log = logging.getLogger("abruzzi.responses")


class Runner:
    """The background's responses. One for each application."""

    def __init__(self, model: ServedModel, desk: Desk, store: Store, background: Background) -> None:
        self._model = model
        self._desk = desk
        self._store = store
        self._background = background
        self._runs: dict[str, Run] = {}
        background.add("the search for responses whose server died", self.take_over)

    async def start(self, asked: Asked, generation: Generation) -> None:
        """Stores the response as queued and begins its work. Raises ApiError; the generation is closed then."""
        answer = asked.answer()
        told = [answer.created(), answer.queued()] if asked.streamed_later else []
        try:
            await self._store.put(
                RESPONSE,
                asked.id,
                asked.owner,
                asked.resumable_body(),
                model=self._model.names[0],
                metadata=asked.wire.metadata,
                items={EVENTS: items_of(told)},
                active=True,
            )
        except BaseException:
            await generation.aclose()
            raise
        run = Run(self._store, self._desk, asked)
        self._spawn(run, run.generate(generation))

    def news(self, id: str) -> asyncio.Event | None:
        """What is set when more events of a response were written; None if it is not at work in this process."""
        run = self._runs.get(id)
        return run.news if run else None

    async def stop(self, id: str) -> Run | None:
        """Ends the work on a response, whose end is then for the caller to write."""
        run = self._runs.get(id)
        if run is None or run.task is None:
            return None
        run.task.cancel()
        await asyncio.wait({run.task})
        return run

    async def cancel(self, stored: Stored) -> dict[str, Any]:
        """The response, which is over: cancelled, if it was not before. Raises ApiError."""
        response: dict[str, Any] = stored.body["response"]
        if response["status"] not in ACTIVE:
            return response
        run = await self.stop(stored.id)
        answer = run.answer if run else _without_output(stored)
        told = [*(run.pending if run else ()), *answer.cancel(), answer.ended()]
        try:
            await self._end(stored, answer.response, told)
        except AlreadyOver:
            stored = await self._store.get(RESPONSE, stored.id, stored.owner)
            response = stored.body["response"]
        else:
            response = answer.response
        if run is not None:
            run.notify()
        return response

    async def take_over(self) -> None:
        """For ever: goes on with what a server that died has left."""
        left: list[Stored] = []
        while self._store.enabled:
            try:
                taken = await self._store.take_over(RESPONSE, self._model.names)
                left += [one for one in taken if one.id not in self._runs]
                while left:
                    await self._resume(left[0])
                    left.pop(0)
            except Unavailable:
                log.debug("the search for responses has to wait until the store can be used again")
            await asyncio.sleep(POLL_SECONDS)

    async def _resume(self, stored: Stored) -> None:
        """Does a response again, or ends it. Raises Unavailable."""
        try:
            events = await self._store.items(RESPONSE, stored.id, stored.owner, EVENTS, limit=BEGINNING + 1)
            why = _why_not(stored, len(events.data))
            if why is None:
                asked = await self._desk.again(stored)
        except Unavailable:
            raise
        except Exception as error:
            why = report(error, stored.id).message
        if why is not None:
            await self._give_up(stored, why)
        else:
            run = Run(self._store, self._desk, asked, begun=len(events.data) == BEGINNING)
            self._spawn(run, run.again())

    async def _give_up(self, stored: Stored, why: str) -> None:
        answer = _without_output(stored)
        told = [*answer.fail(Unavailable(why, retry_after=1)), answer.ended()]
        try:
            await self._end(stored, answer.response, told, held=True)
        except (AlreadyOver, LeaseLost, NotFound):
            log.debug("%s ended otherwise", stored.id)

    async def _end(self, stored: Stored, response: dict[str, Any], told: list[Told], *, held: bool = False) -> None:
        """Writes the end of a response that brings nothing to its conversation. Raises AlreadyOver."""
        add = {EVENTS: items_of(told)} if stored.body["streamed"] else {}
        await self._store.change(RESPONSE, stored.id, stored.owner, ending(response), add=add, active=False, held=held)

    def _spawn(self, run: Run, work: Any) -> None:
        self._runs[run.asked.id] = run
        run.task = self._background.spawn(self._registered(run, work))

    async def _registered(self, run: Run, work: Awaitable[None]) -> None:
        try:
            await work
        except LeaseLost:
            log.warning("%s is now made by another server", run.asked.id)
        except (NotFound, AlreadyOver):
            log.debug("%s was deleted or cancelled while it was made", run.asked.id)
        finally:
            del self._runs[run.asked.id]
            run.notify()


def _why_not(stored: Stored, events: int) -> str | None:
    """Why a response cannot be done again; `events`: how many of it were written, up to one beyond its beginning."""
    if events > BEGINNING:
        return "The server stopped while it was streaming this response. Ask again."
    if stored.body["attempts"] >= MAX_ATTEMPTS:
        return f"The server stopped {MAX_ATTEMPTS} times while it made this response."
    return None


def _without_output(stored: Stored) -> Answer:
    output = Output(stored.id.removeprefix("resp_"), summary=False, encrypted=False)
    return Answer(stored.body["response"], output)
