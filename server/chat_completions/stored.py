"""Stored chat completions: `store: true` keeps the answer, streamed or not, with its messages and metadata.

The store's kind "chat_completion": the body is the answer's object with `metadata`; the list "messages" holds the
request's messages.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from server.chat_completions.answer import Answer
from server.chat_completions.schema import ChatCompletionRequest
from server.events import Event
from server.store.rows import Item, Placed
from server.store.store import Store

KIND = "chat_completion"
MESSAGES = "messages"


async def check_store(wire: ChatCompletionRequest, store: Store) -> None:
    """Before the answer is made: raises InvalidRequest or Unavailable if it could not be kept."""
    if wire.store:
        if not store.enabled:
            raise store.refuse("store")
        await store.check()


class Recorded:
    """An answer's events as they pass. After the last one the answer is stored, before whoever reads learns that it
    was the last: what fails there is raised there."""

    def __init__(
        self,
        events: AsyncIterator[tuple[int, Event]],
        answer: Answer,
        wire: ChatCompletionRequest,
        store: Store,
        owner: str,
    ) -> None:
        self._events = events
        self._collected = answer.collected()
        self._wire = wire
        self._store = store
        self._owner = owner

    def __aiter__(self) -> "Recorded":
        return self

    async def __anext__(self) -> tuple[int, Event]:
        try:
            index, event = await anext(self._events)
        except StopAsyncIteration:
            await self._keep()
            raise
        self._collected.add(index, event)
        return index, event

    async def _keep(self) -> None:
        completion = self._collected.completion()
        metadata = self._wire.metadata or {}
        messages = [message.model_dump(mode="json", exclude_none=True) for message in self._wire.messages]
        await self._store.put(
            KIND,
            completion["id"],
            self._owner,
            {**completion, "metadata": metadata},
            model=self._wire.model,
            metadata=metadata,
            items={MESSAGES: [Item(f"{completion['id']}-{index}", one) for index, one in enumerate(messages)]},
        )


def message_object(item: Placed) -> dict[str, Any]:
    """A stored message as OpenAI's API shows it: text as a string, and the parts that it came in beside it."""
    message: Mapping[str, Any] = item.body
    content = message.get("content")
    parts = content if isinstance(content, list) else None
    if parts is not None:
        content = "".join(part.get("text", part.get("refusal", "")) for part in parts)
    return {"refusal": None, **message, "id": item.id, "content": content, "content_parts": parts}
