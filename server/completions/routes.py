"""POST /v1/completions."""

import asyncio
import secrets
from dataclasses import replace
from functools import partial

from fastapi import APIRouter, Request, Response

from server import delivery
from server.admission import BodyRoom
from server.completions.adapter import text_request
from server.completions.answer import Answer
from server.completions.logprobs import Echo
from server.completions.openapi import OPERATION
from server.completions.schema import CompletionRequest
from server.generation import Generation, Generator, fingerprint
from server.http import read_body, report, request_id
from server.served_model import ServedModel
from server.settings import Settings
from server.text.tokenizer import Tokenizer
from server.wire import parse_body

FEW_TOKENS = 8192  # of prompts, that are turned to text on the event loop


def router(settings: Settings, model: ServedModel, generator: Generator, room: BodyRoom) -> APIRouter:
    """The route, for one application."""
    routes = APIRouter()

    @routes.post("/v1/completions", summary="Complete a text", openapi_extra=OPERATION)
    async def create_completion(request: Request) -> Response:
        with room.share() as share:
            body = await read_body(request, settings.max_body_bytes, share)
            wire = await parse_body(CompletionRequest, body)
            asked = text_request(wire, "cmpl-" + secrets.token_hex(12), model, settings)
            generation = await generator.begin(replace(asked, size=len(body)))
        del body
        try:
            echoes = await _echoes(generation, model.tokenizer) if wire.echo else None
        except BaseException:
            await generation.aclose()
            raise
        answer = Answer(
            id=asked.id,
            model=wire.model,
            fingerprint=fingerprint(model, generation.ready),
            prompts=len(asked.raw),
            n=asked.n,
            echoes=echoes,
            logprobs=wire.logprobs is not None,
            include_usage=wire.include_usage,
        )
        if wire.stream:
            frames = answer.frames(generation, partial(report, request_id=request_id(request)))
            return await delivery.stream(request, generation, frames, settings.keep_alive_seconds)
        whole = await delivery.whole(request, generation, answer.whole(generation))
        return Response(whole, media_type="application/json")

    return routes


async def _echoes(generation: Generation, tokenizer: Tokenizer) -> list[Echo]:
    """What the texts begin with; in a thread if that takes long."""

    def make() -> list[Echo]:
        return [Echo(prompt, tokenizer) for prompt in generation.prompts]

    return make() if generation.prompt_tokens <= FEW_TOKENS else await asyncio.to_thread(make)
