"""/v1/conversations: lists of items that responses continue and add to."""

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from server.admission import BodyRoom
from server.errors import InvalidRequest
from server.http import json_response, owner, read_body
from server.paging import listing, page_query
from server.responses import openapi
from server.responses.items import Item
from server.responses.listed import INCLUDE, check_include
from server.responses.past import CONVERSATION, ITEMS, with_references
from server.responses.schema import AddItems, CreateConversation, UpdateConversation
from server.settings import Settings
from server.store.rows import Item as StoredItem
from server.store.store import Store
from server.wire import Body, parse_body

PATH = "/v1/conversations"
ONE = PATH + "/{conversation_id}"


def router(settings: Settings, room: BodyRoom, store: Store) -> APIRouter:
    """The routes, for one application."""
    routes = APIRouter()

    async def read(request: Request, schema: type[Body]) -> Body:
        with room.share() as share:
            body = await read_body(request, settings.max_body_bytes, share)
            return await parse_body(schema, body or b"{}", {"max_messages": settings.max_messages})

    async def stored_items(request: Request, given: Sequence[Any]) -> list[StoredItem]:
        found = await with_references(given, secrets.token_hex(16), (), owner(request), store, "items")
        return [StoredItem(item["id"], item) for item in found]

    @routes.post(PATH, summary="Create a conversation", openapi_extra=openapi.CREATE_CONVERSATION)
    async def create_conversation(request: Request) -> Response:
        wire = await read(request, CreateConversation)
        items = await stored_items(request, wire.items or ())
        _check_ids(items, {})
        id = f"conv_{secrets.token_hex(16)}"
        body = {
            "id": id,
            "object": "conversation",
            "created_at": int(time.time()),
            "metadata": wire.metadata or {},
        }
        await store.put(CONVERSATION, id, owner(request), body, metadata=wire.metadata, items={ITEMS: items})
        return json_response(body)

    @routes.get(ONE, summary="Retrieve a conversation", openapi_extra=openapi.RETRIEVE_CONVERSATION)
    async def retrieve_conversation(request: Request, conversation_id: str) -> Response:
        return json_response((await store.get(CONVERSATION, conversation_id, owner(request))).body)

    @routes.post(ONE, summary="Update a conversation's metadata", openapi_extra=openapi.UPDATE_CONVERSATION)
    async def update_conversation(request: Request, conversation_id: str) -> Response:
        metadata = (await read(request, UpdateConversation)).metadata

        def edit(body: dict[str, Any]) -> dict[str, Any]:
            return {**body, "metadata": metadata}

        stored = await store.change(CONVERSATION, conversation_id, owner(request), edit, metadata=metadata)
        return json_response(stored.body)

    @routes.delete(ONE, summary="Delete a conversation", openapi_extra=openapi.DELETE_CONVERSATION)
    async def delete_conversation(request: Request, conversation_id: str) -> Response:
        await store.delete(CONVERSATION, conversation_id, owner(request))
        return json_response({"id": conversation_id, "object": "conversation.deleted", "deleted": True})

    @routes.post(ONE + "/items", summary="Add items to a conversation", openapi_extra=openapi.ADD_ITEMS)
    async def add_items(request: Request, conversation_id: str) -> Response:
        check_include(request)
        wire = await read(request, AddItems)
        items = await stored_items(request, wire.items)
        _check_ids(items, await store.count_items(CONVERSATION, conversation_id, owner(request), ITEMS))
        placed = await store.add_items(CONVERSATION, conversation_id, owner(request), ITEMS, items)
        return json_response(listing([one.body for one in placed], False))

    @routes.get(ONE + "/items", summary="List a conversation's items", openapi_extra=openapi.LIST_ITEMS)
    async def list_items(request: Request, conversation_id: str) -> Response:
        query = page_query(request, others=INCLUDE)
        check_include(request)
        page = await store.items(
            CONVERSATION,
            conversation_id,
            owner(request),
            ITEMS,
            after=query.after,
            limit=query.limit,
            ascending=query.ascending,
        )
        return json_response(listing([one.body for one in page.data], page.has_more))

    @routes.get(ONE + "/items/{item_id}", summary="Retrieve an item", openapi_extra=openapi.RETRIEVE_ITEM)
    async def retrieve_item(request: Request, conversation_id: str, item_id: str) -> Response:
        check_include(request)
        item: Item = (await store.item(CONVERSATION, conversation_id, owner(request), ITEMS, item_id)).body
        return json_response(item)

    @routes.delete(ONE + "/items/{item_id}", summary="Delete an item", openapi_extra=openapi.DELETE_ITEM)
    async def delete_item(request: Request, conversation_id: str, item_id: str) -> Response:
        await store.delete_item(CONVERSATION, conversation_id, owner(request), ITEMS, item_id)
        return json_response((await store.get(CONVERSATION, conversation_id, owner(request))).body)

    return routes


def _check_ids(items: Sequence[StoredItem], there: Mapping[str, int]) -> None:
    """An id that a client gives stands for one item of a conversation. Raises InvalidRequest."""
    seen = set(there)
    for index, item in enumerate(items):
        if item.id in seen:
            text = f"The conversation has an item {item.id[:80]!r} already."
            raise InvalidRequest(text, param=f"items[{index}].id")
        seen.add(item.id)
