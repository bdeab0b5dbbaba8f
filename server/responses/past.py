"""What came before a request's input: the responses it continues, or a conversation; and stored items by reference.

A stored response's body is {"response", "input", "conversation_end", …}; its conversation's items up to
`conversation_end`, a position, came before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from server.errors import InvalidRequest, NotFound
from server.responses import items_schema
from server.responses.items import Item, response_of, said, stored_form
from server.responses.schema import PromptRequest
from server.store.store import Store

RESPONSE, CONVERSATION = "response", "conversation"
ITEMS, EVENTS = "items", "events"  # lists of a conversation and of a response
OVER = ("completed", "incomplete")
PAGE = 50  # items of a conversation read at a time
encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Past:
    """Items, oldest first. `end`: position of the conversation's last item, -1 if it has none."""

    items: list[Item] = field(default_factory=list)
    end: int = -1


@dataclass(frozen=True, slots=True)
class Limit:
    """How much may come before: more would be no prompt, and is not read into memory."""

    items: int
    bytes: int

    def check(self, items: int, size: int, param: str) -> None:
        """Raises InvalidRequest."""
        if items > self.items:
            text = f"{param}: there are {items} items or more; at most {self.items} are allowed."
            raise InvalidRequest(text, param=param)
        if size > self.bytes:
            raise InvalidRequest(f"{param}: its items have more than {self.bytes} bytes.", param=param)


async def past(wire: PromptRequest, owner: str, store: Store, limit: Limit, end: int | None = None) -> Past:
    """What the request says came before. `end`: the conversation as it was up to there. Raises InvalidRequest,
    NotFound."""
    for name in ("previous_response_id", "conversation"):
        if getattr(wire, name) is not None and not store.enabled:
            raise store.refuse(name)
    if wire.previous_response_id is not None:
        return Past(await _chain(wire.previous_response_id, owner, store, limit))
    if wire.conversation_id is not None:
        try:
            return await _conversation(wire.conversation_id, owner, store, limit, end)
        except NotFound:
            raise NotFound(CONVERSATION, wire.conversation_id, param="conversation") from None
    return Past()


async def own_items(wire: PromptRequest, name: str, before: Sequence[Item], owner: str, store: Store) -> list[Item]:
    """The request's input as it is stored; references are replaced by what they refer to, in `before` or in any
    response of the owner. Raises InvalidRequest, NotFound."""
    if wire.input is None:
        return []
    if isinstance(wire.input, str):
        return said(wire.input, name)
    return await with_references(wire.input, name, before, owner, store, "input")


async def with_references(
    given: Sequence[Any], name: str, before: Sequence[Item], owner: str, store: Store, param: str
) -> list[Item]:
    """As `own_items`, for any list; `param`: where it is in the request."""
    known = {item["id"]: item for item in before}
    items = []
    for index, item in enumerate(given):
        if isinstance(item, items_schema.ItemReference):
            if not store.enabled:
                raise store.refuse(f"{param}[{index}]")
            if item.id not in known and (response := response_of(item.id)) is not None:
                known |= {one["id"]: one for one in await _items_of(response, owner, store)}
            if item.id not in known:
                raise NotFound("item", item.id, param=f"{param}[{index}].id")
            items.append(known[item.id])
        else:
            items.append(stored_form(item, index, name))
    return items


async def _items_of(response: str, owner: str, store: Store) -> list[Item]:
    """Those of a response, if there is one."""
    try:
        body = (await store.get(RESPONSE, response, owner)).body
    except NotFound:
        return []
    return [*body["input"], *body["response"]["output"]]


async def _chain(id: str, owner: str, store: Store, limit: Limit) -> list[Item]:
    """The items of a response and of all that it continues."""
    parts: list[list[Item]] = []
    seen: list[str] = []
    following: str | None = id
    while following is not None:
        body = await _link(following, seen, owner, store)
        seen.append(following)
        response = body["response"]
        parts.append([*body["input"], *response["output"]])
        if response["conversation"] is not None:
            parts.append(await _before(body, owner, store, limit))
        limit.check(sum(len(part) for part in parts), 0, "previous_response_id")
        following = response["previous_response_id"]
    return [item for part in reversed(parts) for item in part]


async def _link(id: str, seen: list[str], owner: str, store: Store) -> dict[str, Any]:
    """The body of a response that is to be continued; `seen` are those that come after it."""
    where = "previous_response_id"
    if id in seen:
        raise InvalidRequest(f"{where}: the responses before {seen[0]!r} go round in a circle, at {id!r}.", param=where)
    try:
        body = (await store.get(RESPONSE, id, owner)).body
    except NotFound:
        if not seen:
            raise NotFound(RESPONSE, id, param=where) from None
        text = f"{where}: {seen[-1]!r} continues {id!r}, which is no longer stored."
        raise InvalidRequest(text, param=where, code="previous_response_not_found") from None
    status = body["response"]["status"]
    if status not in OVER:
        text = f"{where}: the response {id!r} is {status}; only one that was completed can be continued."
        raise InvalidRequest(text, param=where)
    return body


async def _before(body: dict[str, Any], owner: str, store: Store, limit: Limit) -> list[Item]:
    """What was in its conversation before a response."""
    id, end = body["response"]["conversation"]["id"], body["conversation_end"]
    try:
        return (await _conversation(id, owner, store, limit, end)).items
    except NotFound:
        where = "previous_response_id"
        text = f"{where}: the conversation {id!r} of {body['response']['id']!r} is no longer stored."
        raise InvalidRequest(text, param=where) from None


async def _conversation(id: str, owner: str, store: Store, limit: Limit, end: int | None) -> Past:
    items: list[Item] = []
    size, position, more = 0, -1, True
    while more:
        page = await store.items(CONVERSATION, id, owner, ITEMS, after_position=position, limit=PAGE)
        for placed in page.data:
            if end is not None and placed.position > end:
                return Past(items, position)
            items.append(placed.body)
            size += len(encode(placed.body))
            position = placed.position
        limit.check(len(items), size, "conversation")
        more = page.has_more
    return Past(items, position)
