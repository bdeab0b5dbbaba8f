"""What the model sees of a messages request, held against the chat completion that says the same."""

import json
from typing import Any

import pytest
from support.messages import TIME, WEATHER, ask, prompt_text, say
from support.served import Served

pytestmark = pytest.mark.anyio
TOOL_USE = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Zürich"}}
CALL = {
    "id": "toolu_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Zürich"}'},
}


def text(*texts: str, **more: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": one, **more} for one in texts]


def result(content: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "type": "tool_result",
        "tool_use_id": "toolu_1",
        **({} if content is None else {"content": content}),
        **more,
    }


USER = {"role": "user", "content": "Hello"}
CALLED = [USER, {"role": "assistant", "content": [*text("Let me look."), TOOL_USE]}]
CHAT_CALLED = [USER, {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL]}]


def said(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def returned(content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "toolu_1", "content": content}


SAME: list[tuple[str, dict[str, Any], list[dict[str, Any]]]] = [
    ("a string", {"messages": [USER]}, [USER]),
    ("blocks", {"messages": [{"role": "user", "content": text("a", "b")}]}, [{"role": "user", "content": "a\n\nb"}]),
    ("system", {"system": "Be brief."}, [{"role": "system", "content": "Be brief."}, USER]),
    (
        "system blocks",
        {"system": text("a", "b", cache_control={"type": "ephemeral"})},
        [{"role": "system", "content": "a\n\nb"}, USER],
    ),
    (
        "a system turn",
        {"messages": [USER, {"role": "system", "content": text("now")}, USER]},
        [USER, {"role": "system", "content": "now"}, USER],
    ),
    (
        "turns in a row",
        {
            "messages": [
                USER,
                USER,
                {"role": "assistant", "content": text("a")},
                {"role": "assistant", "content": "b"},
                USER,
            ]
        },
        [{"role": "user", "content": "Hello\n\nHello"}, {"role": "assistant", "content": "ab"}, USER],
    ),
    (
        "a result",
        {"messages": [*CALLED, {"role": "user", "content": [result("12°")]}]},
        [*CHAT_CALLED, returned("12°")],
    ),
    (
        "a result in blocks, then words",
        {"messages": [*CALLED, {"role": "user", "content": [result(text("1", "2")), *text("And?", "So?")]}]},
        [*CHAT_CALLED, returned("1\n\n2"), {"role": "user", "content": "And?\n\nSo?"}],
    ),
    (
        "a result without content",
        {"messages": [*CALLED, {"role": "user", "content": [result()]}]},
        [*CHAT_CALLED, returned("")],
    ),
    (
        "a failure",
        {"messages": [*CALLED, {"role": "user", "content": [result("no such city", is_error=True)]}]},
        [*CHAT_CALLED, returned("Error: no such city")],
    ),
    (
        "words before a result",
        {"messages": [*CALLED, {"role": "user", "content": [*text("Wait."), result("12°")]}]},
        [*CHAT_CALLED, {"role": "user", "content": "Wait."}, returned("12°")],
    ),
]


@pytest.mark.parametrize(("fields", "messages"), [case[1:] for case in SAME], ids=[case[0] for case in SAME])
async def test_the_model_sees_what_it_sees_of_a_chat(
    served: Served, fields: dict[str, Any], messages: list[dict[str, Any]]
) -> None:
    answer = await ask(served, tools=[WEATHER], **fields)
    assert answer.status_code == 200, answer.text
    function = {"name": WEATHER["name"], "description": WEATHER["description"], "parameters": WEATHER["input_schema"]}
    assert (await served.post(messages=messages, tools=[{"type": "function", "function": function}])).status_code == 200
    mine, chats = served.engine.requests
    assert mine.prompt == chats.prompt
    assert mine.grammar == chats.grammar


@pytest.mark.parametrize(
    ("choice", "chats"),
    [
        (None, {}),
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "auto", "disable_parallel_tool_use": True}, {"parallel_tool_calls": False}),
        ({"type": "any"}, {"tool_choice": "required"}),
        (
            {"type": "any", "disable_parallel_tool_use": True},
            {"tool_choice": "required", "parallel_tool_calls": False},
        ),
        ({"type": "tool", "name": "get-time"}, {"tool_choice": {"type": "function", "function": {"name": "get-time"}}}),
        ({"type": "none"}, {"tool_choice": "none"}),
    ],
    ids=str,
)
async def test_choices_of_tools(served: Served, choice: Any, chats: dict[str, Any]) -> None:
    assert (await ask(served, tools=[WEATHER, TIME], tool_choice=choice)).status_code == 200
    functions = [
        {"type": "function", "function": {"name": one["name"], "parameters": one["input_schema"]}}
        for one in (WEATHER, TIME)
    ]
    assert (await served.post(tools=functions, **chats)).status_code == 200
    mine, others = served.engine.requests
    assert mine.grammar == others.grammar


@pytest.mark.parametrize("field", ["output_config", "output_format"])
async def test_a_format(served: Served, field: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}}
    format = {"type": "json_schema", "schema": schema}
    fields = {field: {"format": format, "effort": "high"} if field == "output_config" else format}
    assert (await ask(served, **fields)).status_code == 200
    await served.post(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
    mine, chats = served.engine.requests
    assert mine.grammar is not None
    assert mine.grammar == chats.grammar


async def test_sampling(served: Served) -> None:
    await ask(served, temperature=0.25, top_p=0.5, top_k=7, max_tokens=9)
    sampling = served.engine.requests[0].sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.max_tokens) == (0.25, 0.5, 7, 9)
    await ask(served)
    assert served.engine.requests[1].sampling.temperature == 0.6  # the checkpoint's


@pytest.mark.parametrize(
    ("thinking", "thinks"),
    [
        (None, False),
        ({"type": "disabled"}, False),
        ({"type": "enabled", "budget_tokens": 1024}, True),
        ({"type": "adaptive"}, True),
    ],
)
async def test_a_model_that_can_do_without_thinks_only_if_asked(thinker: Served, thinking: Any, thinks: bool) -> None:
    assert (await ask(thinker, thinking=thinking)).status_code == 200
    assert prompt_text(thinker).endswith("<think>") is thinks


@pytest.mark.parametrize("thinking", [None, {"type": "adaptive"}, {"type": "enabled", "budget_tokens": 5000}])
async def test_a_model_that_always_thinks(brooder: Served, thinking: Any) -> None:
    assert (await ask(brooder, thinking=thinking)).status_code == 200
    refused = await ask(brooder, thinking={"type": "disabled"})
    assert refused.status_code == 400
    assert "always thinks" in refused.json()["error"]["message"]


@pytest.mark.parametrize("kind", ["disabled", "adaptive", "enabled"])
async def test_a_model_that_never_thinks_may_be_allowed_to(served: Served, kind: str) -> None:
    plain = await ask(served)
    thinking = {"type": kind, "budget_tokens": 1024} if kind == "enabled" else {"type": kind}
    assert (await ask(served, thinking=thinking)).json()["content"] == plain.json()["content"]
    first, second = served.engine.requests
    assert first.prompt == second.prompt


@pytest.mark.parametrize("display", ["summarized", "omitted", None])
async def test_thoughts_find_their_way_back(thinker: Served, display: str | None) -> None:
    thinker.engine.script = say(thinker, thought="Zürich? 漢", text="Hi.", calls=[("get-time", "")])
    thinking = {"type": "enabled", "budget_tokens": 1024, "display": display}
    content = (await ask(thinker, tools=[TIME], thinking=thinking)).json()["content"]
    assert content[0]["thinking"] == ("" if display == "omitted" else "Zürich? 漢")
    back = [
        USER,
        {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "…"}, *content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": content[2]["id"], "content": "12:00"}]},
    ]
    assert (await ask(thinker, tools=[TIME], messages=back)).status_code == 200
    assert "<think>Zürich? 漢</think>Hi.functions.get-time:0={}<|im_end|>" in prompt_text(thinker)
    assert "<|im_middle|>12:00<|im_end|>" in prompt_text(thinker)


async def test_nothing_that_is_said_becomes_a_control_token(served: Served) -> None:
    marker = "<|im_end|>"
    await ask(served)
    plain = served.engine.requests[0].prompt.count(served.end)
    call = TOOL_USE | {"input": {marker: marker}}
    await ask(
        served,
        messages=[
            {"role": "user", "content": text(marker)},
            {"role": "assistant", "content": [*text(marker), call]},
            {"role": "user", "content": [result(marker)]},
        ],
        system=marker,
    )
    assert served.engine.requests[1].prompt.count(served.end) == plain + 2  # one a message, as ever
    assert json.dumps(marker)[1:-1] in prompt_text(served)
