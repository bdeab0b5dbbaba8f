"""/tokenize, /detokenize, /tokenizer_info and counting a chat's prompt."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import InputTokenCountResponse
from support.served import MODEL, TINY, Served, chat

from server.dialects.generic import GenericDialect

pytestmark = pytest.mark.anyio
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


async def post(served: Served, path: str, body: dict[str, Any]) -> httpx.Response:
    async with served.client() as client:
        return await client.post(path, json=body)


async def test_a_prompt_and_back(served: Served) -> None:
    text = "<|im_user|>user<|im_middle|>Grüße 世界<|im_end|>"
    answer = (await post(served, "/tokenize", {"prompt": text, "return_token_strs": True})).json()
    assert answer["count"] == len(answer["tokens"]) == len(answer["token_strs"])
    assert answer["max_model_len"] == 4096
    assert answer["tokens"][0] == served.model.tokenizer.control_tokens["<|im_user|>"]
    assert answer["token_strs"][0] == "<|im_user|>"
    assert (await post(served, "/detokenize", {"tokens": answer["tokens"]})).json() == {"prompt": text}


async def test_any_text_comes_back(served: Served) -> None:
    texts: list[str] = []

    @settings(max_examples=50, deadline=None)
    @given(st.text(max_size=30))
    def collect(text: str) -> None:
        texts.append(text)

    collect()
    for text in texts:
        answer = (await post(served, "/tokenize", {"prompt": text})).json()
        assert (await post(served, "/detokenize", {"tokens": answer["tokens"]})).json()["prompt"] == text
        assert answer["token_strs"] is None


@pytest.mark.parametrize(
    "fields",
    [{}, {"tools": [TOOL]}, {"add_generation_prompt": False}, {"messages": [{"role": "system", "content": "S"}]}],
    ids=str,
)
async def test_messages_are_the_prompt_of_a_chat(served: Served, fields: dict[str, Any]) -> None:
    assert (await served.post(**fields)).status_code == 200
    (request,) = served.engine.requests
    body = {key: value for key, value in chat(**fields).items() if key != "model"}
    for model in ({}, {"model": MODEL}, {"model": "alias"}):
        answer = (await post(served, "/tokenize", {**body, **model})).json()
        assert answer["tokens"] == request.prompt
    counted = await post(served, "/v1/chat/completions/input_tokens", chat(**fields, temperature=0.5, stream=True))
    assert counted.json() == {"object": "response.input_tokens", "input_tokens": len(request.prompt)}
    assert len(served.engine.requests) == 1, "nothing was generated"


async def test_the_count_is_of_the_type_that_openais_sdk_has(served: Served) -> None:
    async with (
        served.client() as http,
        openai.AsyncOpenAI(base_url="http://abruzzi/v1", api_key="x", http_client=http) as client,
    ):
        answer = await client.post("/chat/completions/input_tokens", body=chat(), cast_to=InputTokenCountResponse)
    assert answer.input_tokens > 5
    InputTokenCountResponse.model_validate(answer.model_dump(), strict=True)


async def test_counting_needs_no_engine(served: Served) -> None:
    served.engine.status.state = "restarting"
    assert (await post(served, "/v1/chat/completions/input_tokens", chat())).status_code == 200
    assert (await post(served, "/tokenize", {"prompt": "a"})).status_code == 503, "the length of the context is its own"


async def test_tokenizer_info_is_what_evaluation_programs_ask_for(served: Served) -> None:
    async with served.client() as client:
        info = (await client.get("/tokenizer_info")).json()
    assert (info["eos_token"], info["bos_token"]) == ("[EOS]", "[BOS]")
    assert info["chat_template"] == (TINY / "chat_template.jinja").read_text()
    eos = (await post(served, "/tokenize", {"prompt": info["eos_token"], "add_special_tokens": False})).json()
    assert eos["tokens"] == [served.model.tokenizer.control_tokens["[EOS]"]]


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/tokenize", {}, 400, "prompt"),
        ("/tokenize", {"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, 400, "prompt"),
        ("/tokenize", {"prompt": "a", "tools": [TOOL]}, 400, "tools"),
        ("/tokenize", {"prompt": "a", "add_generation_prompt": True}, 400, "add_generation_prompt"),
        ("/tokenize", {"prompt": 5}, 400, "prompt"),
        ("/tokenize", {"prompt": "a", "model": "gpt-5"}, 404, "model"),
        ("/tokenize", {"messages": [{"role": "nobody", "content": "b"}]}, 400, "messages[0]"),
        ("/tokenize", {"messages": [{"role": "user", "content": "b"}], "add_special_tokens": True}, 400, None),
        ("/tokenize", {"messages": [{"role": "user", "content": "b"}], "tools": [TOOL, TOOL]}, 400, None),
        ("/tokenize", {"messages": [{"role": "user", "content": "b"}], "chat_template_kwargs": {"x": 1}}, 400, None),
        ("/tokenize", {"prompt": "a", "temperature": 1}, 400, "temperature"),
        ("/detokenize", {"tokens": [1, 768]}, 400, "tokens"),
        ("/detokenize", {"tokens": [-1]}, 400, "tokens"),
        ("/detokenize", {"tokens": [10**40]}, 400, "tokens"),
        ("/detokenize", {"tokens": "abc"}, 400, "tokens"),
        ("/detokenize", {}, 400, "tokens"),
        ("/detokenize", {"tokens": [1], "model": "gpt-5"}, 404, "model"),
        ("/v1/chat/completions/input_tokens", {"model": MODEL}, 400, "messages"),
        ("/v1/chat/completions/input_tokens", chat(model="gpt-5"), 404, "model"),
        ("/v1/chat/completions/input_tokens", chat(tool_choice="required"), 400, "tool_choice"),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
async def test_mistakes_are_named(
    served: Served, path: str, body: dict[str, Any], status: int, param: str | None
) -> None:
    answer = await post(served, path, body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["message"]
    if param is not None:
        assert error["param"] == param


async def test_empty_texts(served: Served) -> None:
    assert (await post(served, "/tokenize", {"prompt": ""})).json()["tokens"] == []
    assert (await post(served, "/detokenize", {"tokens": []})).json() == {"prompt": ""}


async def test_a_base_checkpoint_completes_text_and_takes_no_messages(serve: Callable[..., Served]) -> None:
    model = serve().model
    base = Served(replace(model, dialect=GenericDialect(model.tokenizer, None)))
    answer = await post(base, "/v1/completions", {"model": MODEL, "prompt": "Once upon"})
    assert answer.status_code == 200, answer.text
    for path, body in [("/tokenize", {"messages": chat()["messages"]}), ("/v1/chat/completions/input_tokens", chat())]:
        refused = await post(base, path, body)
        assert refused.status_code == 400
        assert "base model" in refused.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/tokenize", "/detokenize", "/v1/completions", "/v1/requests/x/cancel"])
async def test_keys_are_needed(serve: Callable[..., Served], path: str) -> None:
    served = serve(api_key=("secret",))
    assert (await post(served, path, {"prompt": "a", "tokens": [1], "model": MODEL})).status_code == 401
