"""/v1/chat/completions, what is stored of it: list, get, update metadata, delete, messages."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from server.admission import BodyRoom
from server.chat_completions.stored import KIND, MESSAGES, message_object
from server.chat_completions.stored_openapi import DELETED, LIST, LIST_MESSAGES, RETRIEVE, UPDATE
from server.http import json_response, owner, read_body
from server.paging import listing, page_query
from server.settings import Settings
from server.store.store import Store
from server.wire import Metadata, Wire, parse_body

LABEL = "metadata["  # metadata[key]=value in a query


class UpdateChatCompletion(Wire):
    """null removes the metadata."""

    metadata: Annotated[Metadata | None, Field()]


def router(settings: Settings, store: Store, room: BodyRoom) -> APIRouter:
    """The routes, for one application."""
    routes = APIRouter()
    path = "/v1/chat/completions/{completion_id}"

    @routes.get("/v1/chat/completions", summary="The stored chat completions", openapi_extra=LIST)
    async def list_chat_completions(request: Request) -> Response:
        query = page_query(request, ascending=True, others=("model", LABEL))
        labels = {name[len(LABEL) : -1]: value for name, value in query.others.items() if name.startswith(LABEL)}
        page = await store.list(
            KIND,
            owner(request),
            after=query.after,
            limit=query.limit,
            ascending=query.ascending,
            model=query.others.get("model"),
            metadata=labels,
        )
        return json_response(listing([one.body for one in page.data], page.has_more))

    @routes.get(path, summary="A stored chat completion", openapi_extra=RETRIEVE)
    async def retrieve_chat_completion(completion_id: str, request: Request) -> Response:
        return json_response((await store.get(KIND, completion_id, owner(request))).body)

    @routes.post(path, summary="Replace the metadata of a stored chat completion", openapi_extra=UPDATE)
    async def update_chat_completion(completion_id: str, request: Request) -> Response:
        with room.share() as share:
            body = await read_body(request, settings.max_body_bytes, share)
            metadata = (await parse_body(UpdateChatCompletion, body)).metadata or {}

        def edit(completion: dict[str, Any]) -> dict[str, Any]:
            return {**completion, "metadata": metadata}

        changed = await store.change(KIND, completion_id, owner(request), edit, metadata=metadata)
        return json_response(changed.body)

    @routes.delete(path, summary="Delete a stored chat completion", openapi_extra=DELETED)
    async def delete_chat_completion(completion_id: str, request: Request) -> Response:
        await store.delete(KIND, completion_id, owner(request))
        return json_response({"object": "chat.completion.deleted", "id": completion_id, "deleted": True})

    @routes.get(path + "/messages", summary="The messages of a stored chat completion", openapi_extra=LIST_MESSAGES)
    async def list_messages(completion_id: str, request: Request) -> Response:
        query = page_query(request, ascending=True)
        page = await store.items(
            KIND,
            completion_id,
            owner(request),
            MESSAGES,
            after=query.after,
            limit=query.limit,
            ascending=query.ascending,
        )
        return json_response(listing([message_object(one) for one in page.data], page.has_more))

    return routes
