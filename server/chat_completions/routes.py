"""POST /v1/chat/completions."""

import secrets
from dataclasses import replace
from functools import partial

from fastapi import APIRouter, Request, Response

from server.admission import BodyRoom
from server.chat_completions.adapter import text_request
from server.chat_completions.answer import Answer
from server.chat_completions.openapi import OPERATION
from server.chat_completions.schema import ChatCompletionRequest
from server.generation import Generation, Generator, fingerprint
from server.http import EventStream, read_body, report, request_id, unless_disconnected
from server.served_model import ServedModel
from server.settings import Settings
from server.wire import parse_body


def router(settings: Settings, model: ServedModel, generator: Generator, room: BodyRoom) -> APIRouter:
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
            include_usage=bool(wire.stream_options and wire.stream_options.include_usage),
        )
        if wire.stream:
            return await _stream(request, generation, answer, settings.keep_alive_seconds)
        try:
            whole = await unless_disconnected(request, answer.whole(generation))
        finally:
            await generation.aclose()
        return Response(whole, media_type="application/json")

    return routes


async def _stream(request: Request, generation: Generation, answer: Answer, keep_alive: float) -> Response:
    """Begins with the first event, or with silence worth a keep-alive: what fails before gets a status of its own."""
    try:
        await unless_disconnected(request, generation.wait_for_first(keep_alive))
    except BaseException:
        await generation.aclose()
        raise
    frames = answer.frames(generation, partial(report, request_id=request_id(request)))
    return EventStream(frames, generation.aclose, keep_alive)
