"""POST /v1/messages and /v1/messages/count_tokens."""

import secrets
from dataclasses import replace
from functools import partial

from fastapi import APIRouter, Request, Response

from server import delivery
from server.admission import BodyRoom
from server.generation import Generator
from server.http import json_response, read_body, report, request_id
from server.messages.adapter import text_request
from server.messages.answer import PING, Answer
from server.messages.contract import hides_thinking
from server.messages.openapi import COUNT_TOKENS, MESSAGES
from server.messages.schema import CountTokensRequest, MessagesRequest
from server.served_model import ServedModel
from server.settings import Settings
from server.wire import parse_body


def router(settings: Settings, model: ServedModel, generator: Generator, room: BodyRoom) -> APIRouter:
    """The routes, for one application."""
    routes = APIRouter()
    context = {"max_messages": settings.max_messages}

    @routes.post("/v1/messages", summary="Answer a conversation, as Anthropic's API does", openapi_extra=MESSAGES)
    async def create_message(request: Request) -> Response:
        with room.share() as share:
            body = await read_body(request, settings.max_body_bytes, share)
            wire = await parse_body(MessagesRequest, body, context)
            asked = text_request(wire, "msg_" + secrets.token_hex(12), model, settings)
            generation = await generator.begin(replace(asked, size=len(body)))
        del body
        answer = Answer(
            id=asked.id,
            model=wire.model,
            max_tokens=wire.max_tokens,
            diagnostics=wire.diagnostics is not None and wire.diagnostics.previous_message_id is not None,
            hide_thinking=hides_thinking(wire),
        )
        id = request_id(request)
        headers = {"request-id": id}
        if wire.stream:
            frames = answer.frames(generation, generation.prompt_tokens, partial(report, request_id=id), id)
            stream = await delivery.stream(request, generation, frames, settings.keep_alive_seconds, PING)
            stream.headers.update(headers)
            return stream
        whole = await delivery.whole(request, generation, answer.whole(generation))
        return Response(whole, headers=headers, media_type="application/json")

    @routes.post("/v1/messages/count_tokens", summary="Count the tokens of a conversation", openapi_extra=COUNT_TOKENS)
    async def count_tokens(request: Request) -> Response:
        with room.share() as share:
            body = await read_body(request, settings.max_body_bytes, share)
            wire = await parse_body(CountTokensRequest, body, context)
            asked = text_request(wire, "count_" + secrets.token_hex(12), model, settings)
            tokens = await generator.count(replace(asked, size=len(body)))
        return json_response({"input_tokens": tokens}, headers={"request-id": request_id(request)})

    return routes
