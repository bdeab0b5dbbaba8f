"""Wrong requests: 400 with the place and a way out, never a 500."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.responses import TIME, WEATHER, ask
from support.served import MODEL, Served

pytestmark = pytest.mark.anyio
USER = {"role": "user", "content": "x"}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"input": 5}, "input", "a string or a list of items"),
        ({"input": None}, "input", "no input"),
        ({"input": []}, "input", "no input"),
        ({"input": [5]}, "input[0]", "an item is an object"),
        ({"input": [{"type": "web_search_call"}]}, "input[0]", "an item is an object"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role", "must be"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content", "a string or a list"),
        ({"input": [{"role": "user", "content": []}]}, "input[0].content", "at least 1"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input[0].content[0]",
            "only text",
        ),
        ({"input": [USER, {"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input[1].call_id", "'c'"),
        ({"input": [CALL, {"type": "function_call_output", "call_id": "c"}]}, "input[1].output", "missing"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "x"}]}]}, None, "output"),
        ({"input": [{**USER, "colour": "red"}]}, "input[0].colour", "no parameter"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]", "runs no tools"),
        ({"tools": [WEATHER, WEATHER]}, "tools[1].name", "two tools"),
        ({"tools": [{**TIME, "name": "a b"}]}, "tools[0].name", "letters"),
        ({"tools": [{**TIME, "parameters": {"type": "string"}}]}, "tools[0].parameters", "object"),
        ({"tool_choice": "required"}, "tool_choice", "needs tools"),
        ({"tool_choice": "always", "tools": [TIME]}, "tool_choice", "'none'"),
        ({"tool_choice": {"type": "file_search"}, "tools": [TIME]}, "tool_choice", "a function"),
        ({"tool_choice": {"type": "function", "name": "f"}, "tools": [TIME]}, "tool_choice.name", "'f'"),
        (
            {
                "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
                "tools": [TIME],
            },
            "tool_choice.tools[0].name",
            "'f'",
        ),
        ({"text": {"format": {"type": "xml"}}}, "text.format", "json_schema"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema", "missing"),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": []}}}, "text.format.schema", "an object"),
        ({"text": {"verbosity": "low"}}, "text.verbosity", "not supported"),
        ({"reasoning": {"effort": "high"}}, "reasoning.effort", "'none' or 'medium'"),
        ({"reasoning": {"effort": "none", "summary": "concise"}}, "reasoning.summary", "concise"),
        ({"reasoning": {"context": "all_turns"}}, "reasoning.context", "not supported"),
        ({"include": ["everything"]}, "include[0]", "must be"),
        ({"top_logprobs": 3}, "top_logprobs", "include"),
        ({"stream_options": {"include_obfuscation": False}}, "stream_options", "stream: true"),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, None, "must be"),
        ({"max_output_tokens": 0}, "max_output_tokens", "at least 1"),
        ({"max_output_tokens": 10**6}, "input", "context"),
        ({"temperature": 3}, "temperature", "at most 2"),
        ({"metadata": {"a": 1}}, "metadata.a", "a string"),
        ({"conversation": 5}, "conversation", "an id"),
        ({"conversation": "c", "previous_response_id": "r"}, "previous_response_id", "one of them"),
        ({"store": True}, "store", "--store none"),
        ({"background": True}, "background", "--store none"),
        ({"background": True, "store": False}, "background", "store: false"),
        ({"conversation": "c"}, "conversation", "--store none"),
        ({"previous_response_id": "resp_x"}, "previous_response_id", "--store none"),
        ({"input": [USER, {"id": "msg_x"}]}, "input[1]", "--store none"),
        ({"chat_template_kwargs": {"colour": 1}}, "chat_template_kwargs", "colour"),
        ({"modle": "x"}, "modle", "no parameter"),
    ],
    ids=str,
)
async def test_what_is_wrong_is_named(served: Served, fields: dict[str, Any], param: str | None, words: str) -> None:
    answer = await ask(served, **fields)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert words in error["message"], error
    assert param is None or error["param"] == param
    assert not served.engine.requests


async def test_an_unknown_model_and_a_body_that_is_no_json(served: Served) -> None:
    answer = await ask(served, model="gpt-5")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    async with served.client() as client:
        for path in ("/v1/responses", "/v1/conversations", "/v1/responses/input_tokens"):
            broken = await client.post(path, content=b'{"input": ')
            assert (broken.status_code, broken.json()["error"]["code"]) == (400, "invalid_json")
            assert (await client.post(path, content=b"[]")).json()["error"]["code"] == "invalid_type"


async def test_more_items_than_are_read(served: Served) -> None:
    answer = await ask(served, input=[USER] * 3000)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input")
    many = [{"role": "user", "content": [{"type": "input_text", "text": ""}] * 1100}]
    assert (await ask(served, input=many)).json()["error"]["param"] == "input[0].content"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
ITEM_KEYS = ("type", "role", "content", "call_id", "name", "arguments", "output", "summary", "id", "status")
words = st.sampled_from(["message", "function_call", "reasoning", "item_reference", "user", "assistant", "completed"])
items = st.dictionaries(st.sampled_from(ITEM_KEYS), words | json_values, max_size=5)
FIELDS = ("input", "tools", "tool_choice", "text", "reasoning", "include", "conversation", "metadata", "stop", "items")


@given(st.dictionaries(st.sampled_from(FIELDS), json_values | st.lists(items, max_size=3), max_size=4))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_body_makes_it_fail(served: Served, fields: dict[str, Any]) -> None:
    body = json.dumps({"model": MODEL, "input": "x", **fields})
    async with served.client() as client:
        for path in ("/v1/responses", "/v1/responses/input_tokens", "/v1/conversations"):
            answer = await client.post(path, content=body)
            assert answer.status_code in (200, 400, 404), answer.text
