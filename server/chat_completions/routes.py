"""POST /v1/chat/completions."""

import secrets
from dataclasses import replace
from functools import partial

from fastapi import APIRouter, Request, Response

from server import delivery
from server.admission import BodyRoom
from server.chat_completions.adapter import text_request
from server.chat_completions.answer import Answer
from server.chat_completions.openapi import OPERATION
from server.chat_completions.schema import ChatCompletionRequest
from server.chat_completions.stored import Recorded, check_store
from server.generation import Generator, fingerprint
from server.http import owner, read_body, report, request_id
from server.served_model import ServedModel
from server.settings import Settings
from server.store.store import Store
from server.wire import parse_body


def router(settings: Settings, model: ServedModel, generator: Generator, room: BodyRoom, store: Store) -> APIRouter:
    """The route, for one application."""
    routes = APIRouter()

    @routes.post(
        "/v1/chat/completions",
        summary="Answer a conversation",
        openapi_extra=OPERATION,
    )
    async def create_chat_completion(request: Request) -> Response:
        with room.share() as share:
            body = await read_body(request, settings.max_body_bytes, share)
            wire = await parse_body(ChatCompletionRequest, body, {"max_messages": settings.max_messages})
            await check_store(wire, store)
            asked = text_request(wire, "chatcmpl-" + secrets.token_hex(12), model, settings)
            generation = await generator.begin(replace(asked, size=len(body)))
        del body
        answer = Answer(
            id=asked.id,
            model=wire.model,
            fingerprint=fingerprint(model, generation.ready),
            service_tier=wire.service_tier is not None,
            n=asked.n,
            logprobs=bool(wire.logprobs),
            include_usage=wire.include_usage,
        )
        events = Recorded(generation, answer, wire, store, owner(request)) if wire.store else generation
        if wire.stream:
            frames = answer.frames(events, partial(report, request_id=request_id(request)))
            return await delivery.stream(request, generation, frames, settings.keep_alive_seconds)
        whole = await delivery.whole(request, generation, answer.whole(events))
        return Response(whole, media_type="application/json")

    return routes
