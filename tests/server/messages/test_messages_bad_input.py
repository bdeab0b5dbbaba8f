"""What a client of /v1/messages can get wrong: Anthropic's error object each time, and the server lives on."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from anthropic.types.shared import ErrorResponse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.messages import TIME, WEATHER, ask, message
from support.served import Served

from engine import RequestRefused
from server.bounds import MAX_ITEMS

pytestmark = pytest.mark.anyio


def user(*blocks: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


def assistant(*blocks: Any) -> dict[str, Any]:
    asked = {"role": "user", "content": "x"}
    return {"messages": [asked, {"role": "assistant", "content": list(blocks)}, asked]}


def tool(**members: Any) -> dict[str, Any]:
    return {"tools": [{"name": "f", "input_schema": {"type": "object"}} | members]}


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
CALL = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("no messages", {"messages": []}, "messages must have at least 1 item"),
    ("messages that are text", {"messages": "Hello"}, "messages must be a list"),
    (
        "another role",
        {"messages": [{"role": "tool", "content": "x"}]},
        "messages[0]: a message is an object whose role",
    ),
    ("no content", {"messages": [{"role": "user"}]}, "'messages[0].content' is missing"),
    ("content that is a number", {"messages": [{"role": "user", "content": 5}]}, "a string or a list of blocks"),
    ("no blocks", user(), "messages[0].content must have at least 1 item"),
    ("a block without a type", user({"text": "x"}), "messages[0].content[0]: a block is an object that has a type"),
    ("an image", user(IMAGE), "image blocks are not supported here"),
    ("a document", user({"type": "document", "source": {}}), "document blocks are not supported here"),
    ("an image of a tool", user({"type": "tool_result", "tool_use_id": "a", "content": [IMAGE]}), "image blocks"),
    ("a document of the operator", {"system": [{"type": "document"}]}, "system[0]: document blocks"),
    ("a call by the user", user(CALL), "tool_use blocks are not supported here; supported are text, tool_result"),
    ("a server's tool in the past", assistant({"type": "server_tool_use"}), "server_tool_use blocks"),
    ("a text that is a number", user({"type": "text", "text": 1}), "messages[0].content[0].text must be a string"),
    ("citations", user({"type": "text", "text": "x", "citations": [{}]}), "citations"),
    ("an input that is text", assistant(CALL | {"input": "{}"}), "messages[1].content[0].input must be an object"),
    (
        "a thought without signature",
        assistant({"type": "thinking", "thinking": "x"}),
        "'messages[1].content[0].signature'",
    ),
    (
        "a signature that was cut",
        assistant({"type": "thinking", "thinking": "", "signature": "abruzzi:a"}),
        "signature",
    ),
    (
        "a begun answer",
        {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "I"}]},
        "begun",
    ),
    ("a result of nothing", user({"type": "tool_result", "tool_use_id": "b"}), "made a call 'b'"),
    ("too many blocks", user(*[{"type": "text", "text": ""}] * (MAX_ITEMS + 1)), "at most 1024"),
    ("no maximum", {"max_tokens": None}, "max_tokens must be a whole number"),
    ("a maximum of 0", {"max_tokens": 0}, "max_tokens must be at least 1"),
    ("a hot temperature", {"temperature": 1.5}, "temperature must be at most 1"),
    ("an unknown field", {"temprature": 1}, "no parameter 'temprature'"),
    ("one stop sequence", {"stop_sequences": "x"}, "stop_sequences must be a list"),
    ("an empty stop sequence", {"stop_sequences": [""]}, "stop_sequences[0] must have at least 1"),
    ("1,000 stop sequences", {"stop_sequences": ["x"] * 1000}, "at most 64"),
    ("a server's tool", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search_20250305 is"),
    ("Anthropic's tool", {"tools": [TIME, {"type": "bash_20250124", "name": "bash"}]}, "tools[1]: bash_20250124"),
    ("no schema", {"tools": [{"name": "f"}]}, "'tools[0].input_schema' is missing"),
    ("a schema of a list", tool(input_schema={"type": "array"}), "tools[0].input_schema"),
    ("a schema that cannot be held", tool(input_schema={"properties": {"a": {"type": "dict"}}}), "#/properties/a/type"),
    ("spaces in a name", tool(name="get weather"), "tools[0].name"),
    ("a long name", tool(name="x" * 129), "1 to 128"),
    ("two of one name", {"tools": [TIME, TIME]}, "two tools of the name"),
    ("a tool for later", tool(defer_loading=True), "tools[0].defer_loading"),
    ("a tool for code", tool(allowed_callers=["code_execution_20250825"]), "tools[0].allowed_callers[0]"),
    ("a choice without tools", {"tool_choice": {"type": "any"}}, "tool_choice needs tools"),
    ("an unknown tool", {"tools": [TIME], "tool_choice": {"type": "tool", "name": "g"}}, "no tool of the name 'g'"),
    ("no such choice", {"tools": [TIME], "tool_choice": "auto"}, "auto, any, tool or none"),
    ("thinking between tools", {"thinking": {"type": "between_tools"}}, "enabled, adaptive or disabled"),
    ("a small budget", {"thinking": {"type": "enabled", "budget_tokens": 10}}, "at least 1024"),
    ("a budget of tokens", {"output_config": {"task_budget": {"type": "tokens", "total": 1}}}, "task_budget"),
    ("another format", {"output_config": {"format": {"type": "xml", "schema": {}}}}, "output_config.format.type"),
    (
        "two formats",
        {
            "output_config": {"format": {"type": "json_schema", "schema": {}}},
            "output_format": {"type": "json_schema", "schema": {}},
        },
        "give one",
    ),
    (
        "a format that cannot be held",
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "dict"}}}},
        "output_config.format.schema",
    ),
    ("edits", {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}, "context_management is not"),
    ("a long prompt", {"system": "word " * 5000}, "prompt is too long: The context holds 4096 tokens"),
]


@pytest.mark.parametrize(("fields", "said"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
async def test_bad_input_is_told(served: Served, fields: dict[str, Any], said: str) -> None:
    for stream in (False, True):
        answer = await ask(served, **{"stream": stream, **fields})
        assert answer.status_code == 400, answer.text
        error = ErrorResponse.model_validate_json(answer.text, strict=True)
        assert error.request_id == answer.headers["request-id"]
        assert error.error.type == "invalid_request_error"
        assert said in error.error.message
        assert len(error.error.message) < 600
    assert not served.engine.requests
    assert (await ask(served)).status_code == 200


BODIES: list[tuple[str, bytes]] = [
    ("empty", b""),
    ("cut off", json.dumps(message()).encode()[:-5]),
    ("a list", b"[]"),
    ("not UTF-8", b'{"model": "\xff\xfe"}'),
    ("a lone surrogate", b'{"model": "\\ud800"}'),
    ("nested", b'{"messages": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
    ("a nested input", json.dumps(assistant(CALL)).replace("{}", '{"a":' * 5000 + "1" + "}" * 5000).encode()),
]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize("body", [case[1] for case in BODIES], ids=[case[0] for case in BODIES])
async def test_bodies_that_are_none(served: Served, path: str, body: bytes) -> None:
    async with served.client() as client:
        answer = await client.post(path, content=body)
    assert answer.status_code == 400, answer.text
    assert ErrorResponse.model_validate_json(answer.text, strict=True).error.type == "invalid_request_error"


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "kind"),
    [
        ("GET", "/v1/messages", b"", {}, 405, "invalid_request_error"),
        ("POST", "/v1/messages/batches", b"{}", {}, 404, "not_found_error"),
        ("POST", "/v1/messages", json.dumps(message(model="gpt-9")).encode(), {}, 404, "not_found_error"),
        ("POST", "/v1/messages", b"x" * 2000, {}, 413, "request_too_large"),
        ("POST", "/v1/messages", b"{}", {"content-encoding": "gzip"}, 415, "invalid_request_error"),
        ("POST", "/v1/messages", b"{}", {"x-api-key": "wrong"}, 401, "authentication_error"),
        ("POST", "/v1/messages/count_tokens", b"{}", {"authorization": "Bearer wrong"}, 401, "authentication_error"),
    ],
)
async def test_every_status_has_its_error(
    serve: Callable[..., Served], method: str, path: str, body: bytes, headers: dict[str, str], status: int, kind: str
) -> None:
    served = serve(api_key=("sk",), max_body_bytes=1000)
    async with served.client() as client:
        answer = await client.request(method, path, content=body, headers={"x-api-key": "sk"} | headers)
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert set(told) == {"type", "error", "request_id"}
    assert (told["type"], told["error"]["type"]) == ("error", kind)
    assert told["request_id"] == answer.headers["request-id"]


async def test_a_full_queue_and_an_absent_engine(serve: Callable[..., Served]) -> None:
    served = serve(max_running=1, max_queue=0)
    served.app.state.draining = True
    draining = await ask(served)
    served.app.state.draining = False
    with_slot = served.engine.script
    never = asyncio.Event()
    served.engine.script = lambda request: [never, *with_slot(request)]
    first = asyncio.ensure_future(ask(served))
    while not served.engine.running:
        await asyncio.sleep(0)
    full = await ask(served)
    never.set()
    assert (await first).status_code == 200
    served.engine.status.state = "loading"
    loading = await ask(served)
    for answer, status, kind in (
        (draining, 529, "overloaded_error"),
        (full, 429, "rate_limit_error"),
        (loading, 529, "overloaded_error"),
    ):
        assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
        assert answer.headers["retry-after"]


async def test_what_the_engine_refuses_names_the_tool(served: Served) -> None:
    refusal = 'the grammar cannot be used: at 9(9): failed to compile JSON schema: Unimplemented keys: ["x"]'
    served.engine.script = lambda request: [RequestRefused(refusal, "invalid_grammar")]
    for stream in (False, True):
        answer = await ask(served, tools=[WEATHER], tool_choice={"type": "any"}, stream=stream)
        assert answer.status_code == 400
        assert "Unimplemented keys" in answer.json()["error"]["message"]


async def test_a_refused_thread_says_so_in_a_word_for_clients(served: Served) -> None:
    error = (await ask(served, thread={"type": "create"})).json()["error"]
    assert error["details"] == {"error_code": "thread_unsupported_request"}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "x", "text", "tool_use", "auto"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "content", "role", "id", "input", "name"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(field=st.sampled_from(["messages", "system", "tools", "tool_choice", "thinking", "output_config"]), value=values)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_is_sent_it_is_answered_or_refused(served: Served, field: str, value: Any) -> None:
    async with served.client() as client:
        body = json.dumps(message(**{field: value}))
        assert (await client.post("/v1/messages", content=body)).status_code in (200, 400)
