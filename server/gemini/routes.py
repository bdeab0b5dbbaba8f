"""POST /v1beta/models/{model}:generateContent, :streamGenerateContent and :countTokens; GET /v1beta/models. The same
under /v1, where Google's clients are known by their headers: others who GET models there want OpenAI's.

The operation is a part of the path's last segment, which a router cannot tell apart: names may have slashes and colons.
"""

import secrets
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

from server import delivery
from server.admission import BodyRoom
from server.contract import check_model
from server.engine_port import Engine
from server.errors import InvalidRequest, UnknownUrl
from server.gemini.adapter import text_request
from server.gemini.answer import ARRAY, SSE, Answer, text_tokens
from server.gemini.openapi import LIST, MODEL, OPERATION
from server.gemini.schema import CountTokensRequest, GenerateContentRequest
from server.generation import Generation, Generator
from server.http import json_response, read_body, report, request_id
from server.sampling import context_length
from server.served_model import ServedModel
from server.settings import Settings
from server.wire import parse_body

MAX_PAGE = 1000


def router(settings: Settings, model: ServedModel, generator: Generator, room: BodyRoom, engine: Engine) -> APIRouter:
    """The routes, for one application."""
    routes = APIRouter()
    context = {"max_messages": settings.max_messages}

    async def operate(request: Request, name: str) -> Response:
        name, _, operation = name.rpartition(":")
        name = known(name)
        if operation == "countTokens":
            return await count_tokens(request, name)
        if operation not in ("generateContent", "streamGenerateContent"):
            raise UnknownUrl(f"Unknown operation: {operation[:80]!r}.")
        streamed = operation == "streamGenerateContent"
        alt = request.query_params.get("alt", "json")
        if alt not in (("json", "sse") if streamed else ("json",)):
            raise InvalidRequest(f"alt is {alt[:40]!r}; it can be json, and sse for a stream.", param="alt")
        generation, answer = await begin(request, name)
        if not streamed:
            whole = await delivery.whole(request, generation, answer.whole(generation))
            return Response(whole, media_type="application/json")
        framing = SSE if alt == "sse" else ARRAY
        frames = answer.frames(generation, framing, partial(report, request_id=request_id(request)))
        stream = await delivery.stream(request, generation, frames, settings.keep_alive_seconds, framing.silence)
        stream.headers["content-type"] = framing.media_type
        return stream

    async def begin(request: Request, name: str) -> tuple[Generation, Answer]:
        with room.share() as share:
            body = await read_body(request, settings.max_body_bytes, share)
            wire = await parse_body(GenerateContentRequest, body, context)
            asked = text_request(wire, name, "gen-" + secrets.token_hex(12), model, settings)
            generation = await generator.begin(replace(asked, size=len(body)))
        config = wire.generation_config
        thinking = config.thinking_config
        answer = Answer(
            id=asked.id,
            model=name,
            n=asked.n,
            logprobs=bool(config.response_logprobs),
            show_thoughts=bool(thinking and thinking.include_thoughts),
        )
        return generation, answer

    async def count_tokens(request: Request, name: str) -> Response:
        with room.share() as share:
            body = await read_body(request, settings.max_body_bytes, share)
            wire = await parse_body(CountTokensRequest, body, context)
            asked = text_request(wire.whole, name, "count-" + secrets.token_hex(12), model, settings)
            tokens = await generator.count(replace(asked, size=len(body)))
        return json_response({"totalTokens": tokens, "promptTokensDetails": text_tokens(tokens)})

    async def list_models(request: Request) -> Response:
        start = _number(request, "pageToken", 0, len(model.names))
        size = _number(request, "pageSize", 1, MAX_PAGE) or MAX_PAGE
        page = {"models": [entry(name) for name in model.names[start : start + size]]}
        more = {"nextPageToken": str(start + size)} if start + size < len(model.names) else {}
        return json_response(page | more)

    async def retrieve_model(name: str) -> Response:
        name = known(name)
        check_model(name, model)
        return json_response(entry(name))

    def known(name: str) -> str:
        """Without the prefix that Google's names have, and that some clients write once more."""
        return name if model.answers_to(name) else name.removeprefix("models/")

    def entry(name: str) -> dict[str, Any]:
        ready = engine.ready
        limits = {} if ready is None else dict.fromkeys(("inputTokenLimit", "outputTokenLimit"), context_length(ready))
        return {
            "name": f"models/{name}",
            "displayName": name,
            "version": "1",
            **limits,
            "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens"],
            "temperature": model.sampling.temperature,
            "maxTemperature": 2.0,
            "topP": model.sampling.top_p,
            "topK": model.sampling.top_k,
            "thinking": model.dialect.reasoning != "never",
        }

    for path, method, endpoint, summary, extra in (
        ("/models/{name:path}", "POST", operate, "Answer contents, as Google's API does", OPERATION),
        ("/models", "GET", list_models, "The models served, as Google's API lists them", LIST),
        ("/models/{name:path}", "GET", retrieve_model, "One model, as Google's API shows it", MODEL),
    ):
        routes.add_api_route("/v1beta" + path, endpoint, methods=[method], summary=summary, openapi_extra=extra)
        kind = APIRoute if method == "POST" else _GoogleRoute
        routes.add_api_route(
            "/v1" + path, endpoint, methods=[method], include_in_schema=False, route_class_override=kind
        )
    return routes


class _GoogleRoute(APIRoute):
    """For Google's clients only."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if any(name.startswith(b"x-goog-") for name, _ in scope["headers"]):
            return super().matches(scope)
        return Match.NONE, {}


def _number(request: Request, name: str, least: int, most: int) -> int:
    """A whole number in the query; 0 if it is not there. Raises InvalidRequest."""
    text = request.query_params.get(name, "")
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= most):
        raise InvalidRequest(f"{name} is {text[:40]!r}; it must be a number from {least} to {most}.", param=name)
    return int(text)
