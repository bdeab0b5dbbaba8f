"""POST /v1/chat/completions."""

import hashlib
import secrets
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from engine import Ready
from server.chat_completions.adapter import parse_request, text_request
from server.chat_completions.answer import Answer
from server.chat_completions.schema import ChatCompletionRequest
from server.generation import Generation, Generator
from server.http import EventStream, read_body, report, request_id, unless_disconnected
from server.served_model import ServedModel
from server.settings import Settings

BODY = {"$ref": "#/components/schemas/ChatCompletionRequest"}


def schemas() -> dict[str, Any]:
    """The request's JSON Schemas for the OpenAPI document: the route reads the body itself (with its limits)."""
    whole = ChatCompletionRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    parts: dict[str, Any] = whole.pop("$defs")
    return {**parts, "ChatCompletionRequest": whole}


def router(settings: Settings, model: ServedModel, generator: Generator) -> APIRouter:
    """The route, for one application."""
    routes = APIRouter()

    @routes.post(
        "/v1/chat/completions",
        summary="Answer a conversation",
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": BODY}}}},
    )
    async def create_chat_completion(request: Request) -> Response:
        wire = parse_request(await read_body(request, settings.max_body_bytes), settings)
        asked = text_request(wire, "chatcmpl-" + secrets.token_hex(12), model, settings)
        generation = await generator.begin(asked)
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
            body = await unless_disconnected(request, answer.whole(generation))
        finally:
            await generation.aclose()
        return Response(body, media_type="application/json")

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


def fingerprint(model: ServedModel, ready: Ready) -> str:
    """Changes when the same seed may give another answer."""
    said = f"{model.folder.name} {ready.architecture} {ready.parameters} {ready.dtype} {ready.device}"
    return "fp_" + hashlib.sha256(said.encode()).hexdigest()[:10]
