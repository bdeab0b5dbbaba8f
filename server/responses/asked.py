"""A request for a response with all that was looked up for it, and how it is stored.

{"response": …, "input": [items], "conversation_end": position, "streamed": bool,
 "request": the rest of the request, "attempts": n}            the last two until the response is over
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from server.generation import Generation, Generator, TextRequest
from server.responses.adapter import check_together, is_kept, response_object, text_request
from server.responses.answer import Answer
from server.responses.items import Item, new_name
from server.responses.output import Output
from server.responses.past import CONVERSATION, ITEMS, OVER, RESPONSE, Limit, Past, own_items, past
from server.responses.schema import ENCRYPTED, PromptRequest, ResponseRequest
from server.served_model import ServedModel
from server.settings import Settings
from server.store.rows import Elsewhere, Stored
from server.store.rows import Item as StoredItem
from server.store.store import Store

RESUMABLE = ("request", "attempts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`own`: the input; `past`: what came before; `kept`: whether it is stored; `response`: as it is before any
    output."""

    name: str
    owner: str
    wire: ResponseRequest
    own: Sequence[Item]
    past: Past
    kept: bool
    response: dict[str, Any]

    @property
    def id(self) -> str:
        return f"resp_{self.name}"

    @property
    def streamed_later(self) -> bool:
        """Whether its events are kept."""
        return bool(self.wire.background and self.wire.stream)

    def text_request(self, size: int, model: ServedModel, settings: Settings) -> TextRequest:
        """`size`: bytes that it came in. Raises InvalidRequest."""
        made = text_request(self.wire, self.id, self.past.items, self.own, model, settings)
        before = sum(len(str(item)) for item in self.past.items)
        return replace(made, size=size + before)

    def answer(self) -> Answer:
        include = self.wire.include or ()
        summary = self.wire.reasoning is not None and self.wire.reasoning.summary is not None
        return Answer(self.response, Output(self.name, summary=summary, encrypted=ENCRYPTED in include))

    def body(self, response: dict[str, Any]) -> dict[str, Any]:
        """What is stored of it."""
        end = self.past.end if self.wire.conversation is not None else None
        kept = {"response": response, "input": self.own, "conversation_end": end}
        return {**kept, "streamed": self.streamed_later}

    def resumable_body(self) -> dict[str, Any]:
        """The same, with what it takes to do it again."""
        request = self.wire.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"input"})
        return {**self.body(self.response), "request": request, "attempts": 1}

    def elsewhere(self, response: dict[str, Any]) -> list[Elsewhere]:
        """What its conversation gets of a response that is over."""
        id = self.wire.conversation_id
        if id is None or response["status"] not in OVER:
            return []
        items = [StoredItem(item["id"], item) for item in (*self.own, *response["output"])]
        return [Elsewhere(CONVERSATION, id, ITEMS, items)]


class Desk:
    """Takes requests in. One for each application."""

    def __init__(self, settings: Settings, model: ServedModel, generator: Generator, store: Store) -> None:
        self._settings = settings
        self._model = model
        self._generator = generator
        self._store = store
        self._limit = Limit(settings.max_messages, settings.max_body_bytes)

    async def take(self, wire: ResponseRequest, owner: str) -> Asked:
        """Raises ApiError: what is wrong with the request, what it refers to and is not there."""
        check_together(wire, self._model)
        kept = is_kept(wire, self._store)
        name = new_name()
        before = await past(wire, owner, self._store, self._limit)
        own = await own_items(wire, name, before.items, owner, self._store)
        if kept and not wire.background:
            await self._store.check()
        response = response_object(wire, f"resp_{name}", int(time.time()), self._model, kept=kept)
        return Asked(name=name, owner=owner, wire=wire, own=own, past=before, kept=kept, response=response)

    async def again(self, stored: Stored) -> Asked:
        """As it was asked, from what is stored of an active response. Raises ApiError."""
        body = stored.body
        wire = ResponseRequest.model_validate(body["request"])
        before = await past(wire, stored.owner, self._store, self._limit, body["conversation_end"])
        response = {**body["response"], "status": "queued"}
        name = stored.id.removeprefix("resp_")
        return Asked(
            name=name, owner=stored.owner, wire=wire, own=body["input"], past=before, kept=True, response=response
        )

    async def begin(self, asked: Asked, size: int) -> Generation:
        """Raises ApiError."""
        return await self._generator.begin(asked.text_request(size, self._model, self._settings))

    async def count(self, wire: PromptRequest, owner: str, size: int) -> int:
        """The tokens of the prompt. Raises ApiError."""
        check_together(wire, self._model)
        before = await past(wire, owner, self._store, self._limit)
        own = await own_items(wire, new_name(), before.items, owner, self._store)
        made = text_request(wire, "count", before.items, own, self._model, self._settings)
        return await self._generator.count(replace(made, size=size))

    async def keep(self, asked: Asked, response: dict[str, Any]) -> None:
        """Stores a response that is over, if it is to be stored. Raises ApiError."""
        if asked.kept:
            await self._store.put(
                RESPONSE,
                asked.id,
                asked.owner,
                asked.body(response),
                model=self._model.names[0],
                metadata=asked.wire.metadata,
                elsewhere=asked.elsewhere(response),
            )
