"""/v1/responses: create, retrieve, cancel and delete responses, list their input, count tokens."""

from functools import partial

from fastapi import APIRouter, Request, Response

from server import delivery
from server.admission import BodyRoom
from server.background import Background
from server.errors import InvalidRequest
from server.generation import Generator
from server.http import EventStream, json_response, owner, read_body, report, request_id
from server.paging import KEY, listing, page_query
from server.responses import openapi
from server.responses.answer import frames, whole
from server.responses.asked import Desk
from server.responses.following import follow
from server.responses.listed import INCLUDE, check_include, page_of
from server.responses.past import RESPONSE
from server.responses.running import Runner
from server.responses.schema import CountRequest, ResponseRequest
from server.served_model import ServedModel
from server.settings import Settings
from server.store.store import Store
from server.wire import parse_body

QUERY = (KEY, "stream", "starting_after", "include_obfuscation", "include")


def router(
    settings: Settings,
    model: ServedModel,
    generator: Generator,
    room: BodyRoom,
    store: Store,
    background: Background,
) -> APIRouter:
    """The routes, for one application."""
    routes = APIRouter()
    context = {"max_messages": settings.max_messages}
    desk = Desk(settings, model, generator, store)
    runner = Runner(model, desk, store, background)

    @routes.post("/v1/responses", summary="Create a response", openapi_extra=openapi.CREATE)
    async def create_response(request: Request) -> Response:
        with room.share() as share:
            body = await read_body(request, settings.max_body_bytes, share)
            wire = await parse_body(ResponseRequest, body, context)
            asked = await desk.take(wire, owner(request))
            generation = await desk.begin(asked, len(body))
        del body
        if wire.background:
            await runner.start(asked, generation)
            return _follow(asked.id, asked.owner, -1) if wire.stream else json_response(asked.response)
        keep = partial(desk.keep, asked)
        if wire.stream:
            told = frames(asked.answer(), generation, keep, partial(report, request_id=request_id(request)))
            return await delivery.stream(request, generation, told, settings.keep_alive_seconds)
        answer = await delivery.whole(request, generation, whole(asked.answer(), generation, keep))
        return Response(answer, media_type="application/json")

    def _follow(id: str, owner: str, after: int) -> Response:
        """The response goes on whether or not its client stays."""
        told = follow(runner, store, id, owner, after)
        return EventStream(told, told.aclose, settings.keep_alive_seconds)

    @routes.post("/v1/responses/input_tokens", summary="Count a response's input tokens", openapi_extra=openapi.COUNT)
    async def count_input_tokens(request: Request) -> Response:
        with room.share() as share:
            body = await read_body(request, settings.max_body_bytes, share)
            wire = await parse_body(CountRequest, body, context)
            tokens = await desk.count(wire, owner(request), len(body))
        return json_response({"object": "response.input_tokens", "input_tokens": tokens})

    @routes.get("/v1/responses/{response_id}", summary="Retrieve a response", openapi_extra=openapi.RETRIEVE)
    async def retrieve_response(request: Request, response_id: str) -> Response:
        after = _cursor(request)
        stored = await store.get(RESPONSE, response_id, owner(request))
        if after is None:
            return json_response(stored.body["response"])
        if not stored.body["streamed"]:
            text = "Only responses that were made with background: true and stream: true can be streamed later."
            raise InvalidRequest(text, param="stream")
        return _follow(response_id, owner(request), after)

    @routes.delete("/v1/responses/{response_id}", summary="Delete a response", openapi_extra=openapi.DELETE)
    async def delete_response(request: Request, response_id: str) -> Response:
        await store.get(RESPONSE, response_id, owner(request))
        await runner.stop(response_id)
        await store.delete(RESPONSE, response_id, owner(request))
        return json_response({"id": response_id, "object": "response.deleted", "deleted": True})

    @routes.post("/v1/responses/{response_id}/cancel", summary="Cancel a response", openapi_extra=openapi.CANCEL)
    async def cancel_response(request: Request, response_id: str) -> Response:
        stored = await store.get(RESPONSE, response_id, owner(request))
        if not stored.body["response"]["background"]:
            raise InvalidRequest("Only responses with background: true can be cancelled.", param="response_id")
        return json_response(await runner.cancel(stored))

    @routes.get(
        "/v1/responses/{response_id}/input_items", summary="List a response's input", openapi_extra=openapi.INPUT_ITEMS
    )
    async def list_input_items(request: Request, response_id: str) -> Response:
        query = page_query(request, others=INCLUDE)
        check_include(request)
        stored = await store.get(RESPONSE, response_id, owner(request))
        return json_response(listing(*page_of(stored.body["input"], query)))

    return routes


def _cursor(request: Request) -> int | None:
    """The number of the event behind which a stream begins; None for the response itself. Raises InvalidRequest."""
    check_include(request)
    given = dict(request.query_params)
    for name in given:
        if name not in QUERY and not name.startswith("include["):
            raise InvalidRequest(f"There is no parameter {name[:80]!r}.", param=name[:80], code="unknown_parameter")
    if given.get("include_obfuscation", "false") != "false":
        raise InvalidRequest("include_obfuscation may only be false.", param="include_obfuscation")
    stream, after = given.get("stream", "false"), given.get("starting_after")
    if stream not in ("true", "false"):
        raise InvalidRequest(f"stream must be true or false, not {stream[:40]!r}.", param="stream")
    if after is not None and not (after.isascii() and after.isdecimal() and len(after) < 16):
        raise InvalidRequest(f"starting_after must be a whole number, not {after[:40]!r}.", param="starting_after")
    if stream == "false":
        if after is not None:
            raise InvalidRequest("starting_after needs stream=true.", param="starting_after")
        return None
    return -1 if after is None else int(after)
