"""/tokenize, /detokenize, /tokenizer_info and /v1/chat/completions/input_tokens: what the tokenizer makes of a prompt,
and how long it is, without generating. The first three are as vLLM has them; lm-eval uses them too.

Messages are those of chat completions, whose schema and checks this file uses.
"""

import asyncio
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field, ValidationInfo, model_validator

from server.admission import BodyRoom
from server.bounds import check_bounds
from server.chat_completions.adapter import text_request
from server.chat_completions.schema import FREE_FORM, ChatCompletionRequest, ChatMessage
from server.chat_completions.tools_schema import ToolDeclared
from server.contract import check_model
from server.conversation import OutputContract, RawPrompt
from server.engine_port import Engine
from server.errors import InvalidRequest
from server.generation import Generator, TextRequest, engine_ready
from server.http import json_response, read_body
from server.operations import openapi
from server.sampling import SamplingOverrides, context_length
from server.served_model import ServedModel
from server.settings import Settings
from server.text.checkpoint_json import read_optional_json_object
from server.text.template import load_template
from server.wire import MAX_TOOLS, Wire, parse_body

ERRORS = openapi.ERRORS
SPECIAL_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")


class TokenizeRequest(Wire):
    """Body of POST /tokenize: a prompt, or messages with the tools."""

    model: str | None = None
    prompt: str | None = None
    add_special_tokens: bool | None = None
    messages: Annotated[list[ChatMessage], Field(fail_fast=True, min_length=1)] | None = None
    tools: Annotated[list[ToolDeclared], Field(max_length=MAX_TOOLS)] | None = None
    add_generation_prompt: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    return_token_strs: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, value: Any, info: ValidationInfo) -> Any:
        check_bounds(value, info.context["max_messages"] if info.context else None, FREE_FORM)
        return value


class DetokenizeRequest(Wire):
    """Body of POST /detokenize."""

    model: str | None = None
    tokens: Annotated[list[int], Field(fail_fast=True)]


def router(settings: Settings, model: ServedModel, generator: Generator, engine: Engine, room: BodyRoom) -> APIRouter:
    """The routes, for one application."""
    routes = APIRouter()
    context = {"max_messages": settings.max_messages}

    @routes.post("/tokenize", summary="The tokens of a prompt", openapi_extra=openapi.TOKENIZE)
    async def tokenize(request: Request) -> Response:
        with room.share() as share:
            body = await read_body(request, settings.max_body_bytes, share)
            wire = await parse_body(TokenizeRequest, body, context)
            max_model_len = context_length(engine_ready(engine))
            (tokens,) = await generator.prompts(_asked(wire, len(body)))
        texts = await asyncio.to_thread(_texts, tokens) if wire.return_token_strs else None
        return json_response(
            {"count": len(tokens), "max_model_len": max_model_len, "tokens": tokens, "token_strs": texts}
        )

    def _asked(wire: TokenizeRequest, size: int) -> TextRequest:
        if wire.model is not None:
            check_model(wire.model, model)
        _check_one_prompt(wire)
        if wire.prompt is not None:
            prompt = RawPrompt(wire.prompt, wire.add_special_tokens is not False)
            nothing = SamplingOverrides()
            return TextRequest(id="", raw=(prompt,), sampling=nothing, contract=OutputContract(), size=size)
        chat = ChatCompletionRequest.model_construct(
            model=wire.model or model.names[0],
            messages=wire.messages,
            tools=wire.tools,
            add_generation_prompt=wire.add_generation_prompt,
            chat_template_kwargs=wire.chat_template_kwargs,
        )
        return replace(text_request(chat, "", model, settings), size=size)

    @routes.post("/detokenize", summary="The text of tokens", openapi_extra=openapi.DETOKENIZE)
    async def detokenize(request: Request) -> Response:
        with room.share() as share:
            wire = await parse_body(DetokenizeRequest, await read_body(request, settings.max_body_bytes, share))
        if wire.model is not None:
            check_model(wire.model, model)
        size = model.tokenizer.vocab_size
        for token in (min(wire.tokens), max(wire.tokens)) if wire.tokens else ():
            if not 0 <= token < size:
                raise InvalidRequest(f"tokens: there is no token {token}; ids go from 0 to {size - 1}.", param="tokens")
        return json_response({"prompt": await asyncio.to_thread(_text, wire.tokens)})

    @routes.get("/tokenizer_info", summary="The names of special tokens, and the chat template")
    async def tokenizer_info() -> Response:
        config = read_optional_json_object(model.folder / "tokenizer_config.json")
        named = {name: config.get(name) for name in SPECIAL_TOKENS}
        texts = {name: one.get("content") if isinstance(one, dict) else one for name, one in named.items()}
        template = load_template(model.folder, model.tokenizer)
        return json_response({**texts, "chat_template": template and template.source})

    @routes.post(
        "/v1/chat/completions/input_tokens",
        summary="How many tokens the prompt of a chat completion has",
        openapi_extra=openapi.INPUT_TOKENS,
    )
    async def count_input_tokens(request: Request) -> Response:
        with room.share() as share:
            body = await read_body(request, settings.max_body_bytes, share)
            wire = await parse_body(ChatCompletionRequest, body, context)
            asked = replace(text_request(wire, "", model, settings), size=len(body))
            count = await generator.count(asked)
        return json_response({"object": "response.input_tokens", "input_tokens": count})

    def _texts(tokens: list[int]) -> list[str]:
        return [_text([token]) for token in tokens]

    def _text(tokens: list[int]) -> str:
        """Control tokens as their names."""
        return b"".join(map(model.tokenizer.token_bytes, tokens)).decode("utf-8", "replace")

    return routes


def _check_one_prompt(wire: TokenizeRequest) -> None:
    if (wire.prompt is None) == (wire.messages is None):
        raise InvalidRequest("Give either a prompt or messages.", param="prompt")
    for field in ("tools", "add_generation_prompt", "chat_template_kwargs"):
        if wire.messages is None and getattr(wire, field) is not None:
            raise InvalidRequest(f"{field} needs messages.", param=field)
    if wire.messages is not None and wire.add_special_tokens:
        raise InvalidRequest(
            "add_special_tokens needs a prompt: messages get what the chat template writes.", param="add_special_tokens"
        )


def schemas() -> dict[str, Any]:
    """The JSON Schemas of the bodies that no protocol has."""
    found: dict[str, Any] = {}
    for request in (TokenizeRequest, DetokenizeRequest):
        schema = request.model_json_schema(ref_template=openapi.REFERENCE + "{model}")
        found |= schema.pop("$defs", {})
        found[request.__name__] = schema
    return found
