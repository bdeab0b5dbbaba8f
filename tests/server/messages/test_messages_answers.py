"""Answers of /v1/messages, whole and streamed, and what the model sees of a request."""

import asyncio
import dataclasses
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import from_json
from support.messages import BUDGET, CALLS, TIME, WEATHER, ask, events, message, say
from support.served import ANSWER, MODEL, HandCall, Served

from engine import EngineUnavailable
from server.events import Event, Finished, ToolCallEnd, ToolCallStart, Usage
from server.messages.answer import Answer

pytestmark = pytest.mark.anyio


async def test_a_whole_answer(served: Served) -> None:
    answer = await ask(served)
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    body = answer.json()
    assert body.pop("id").startswith("msg_")
    assert body == {
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": ANSWER}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": len(served.engine.requests[0].prompt),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": len(served.model.tokenizer.encode(ANSWER)) + 1,
            "output_tokens_details": {"thinking_tokens": 0},
            "service_tier": "standard",
        },
    }


async def test_a_stream(served: Served) -> None:
    answer = await ask(served, stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    start, begin, *deltas, stop, end, last = events(answer.text)
    prompt = len(served.engine.requests[0].prompt)
    assert start["message"]["content"] == []
    assert start["message"]["stop_reason"] is None
    assert (start["message"]["usage"]["input_tokens"], start["message"]["usage"]["output_tokens"]) == (prompt, 0)
    assert begin == {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    assert {(one["type"], one["index"], one["delta"]["type"]) for one in deltas} == {
        ("content_block_delta", 0, "text_delta")
    }
    assert "".join(one["delta"]["text"] for one in deltas) == ANSWER
    assert stop == {"type": "content_block_stop", "index": 0}
    assert end["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert end["usage"]["output_tokens"] == len(served.model.tokenizer.encode(ANSWER)) + 1
    assert last == {"type": "message_stop"}


async def test_a_cached_prompt_is_told_apart(served: Served) -> None:
    served.engine.script = say(served, text="x", cached_tokens=32)
    whole = (await ask(served)).json()["usage"]
    prompt = len(served.engine.requests[0].prompt)
    streamed = events((await ask(served, stream=True)).text)[-2]["usage"]
    for usage in (whole, streamed):
        assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (prompt - 32, 32)


def gathered(stream: list[dict[str, Any]]) -> dict[str, Any]:
    """What a stream's events add up to, after checking their order."""
    start, *rest, end, last = stream
    assert (start["type"], end["type"], last["type"]) == ("message_start", "message_delta", "message_stop")
    content: list[dict[str, Any]] = []
    open_block = False
    for event in rest:
        if event["type"] == "content_block_start":
            assert not open_block
            assert event["index"] == len(content)
            content.append(event["content_block"] | {"pieces": ""})
            open_block = True
        elif event["type"] == "content_block_stop":
            assert open_block
            open_block = False
        else:
            assert event["type"] == "content_block_delta"
            assert open_block
            assert event["index"] == len(content) - 1
            kind, piece = event["delta"].values()
            if kind == "signature_delta":
                content[-1]["signature"] = piece
            else:
                assert piece
                assert (
                    kind
                    == {"text": "text_delta", "thinking": "thinking_delta", "tool_use": "input_json_delta"}[
                        content[-1]["type"]
                    ]
                )
                content[-1]["pieces"] += piece
    assert not open_block
    for block in content:
        pieces = block.pop("pieces")
        if block["type"] == "tool_use":
            block["input"] = from_json(pieces or "{}", allow_partial=True)
        else:
            block[block["type"]] = pieces
    return start["message"] | {"content": content, **end["delta"], "usage": start["message"]["usage"] | end["usage"]}


def comparable(body: dict[str, Any]) -> dict[str, Any]:
    """Without what is drawn for each answer."""
    content = [{name: value for name, value in block.items() if name != "id"} for block in body["content"]]
    return {**body, "id": None, "content": content}


words = st.text(st.sampled_from("ab \n.}{\"'é漢🦀"), min_size=1, max_size=12)


@given(
    thought=words,
    text=st.one_of(st.just(""), words),
    calls=st.lists(
        st.sampled_from([*CALLS, ("get_weather", '{"city": "a\\n\\"b", "n": [1, 2.5, {"x": null}]}')]), max_size=3
    ),
    at_once=st.integers(1, 9),
    max_tokens=st.integers(1, 120),
    display=st.sampled_from(["summarized", "omitted"]),
    stop=st.one_of(st.none(), words),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_stream_adds_up_to_the_whole(
    thinker: Served,
    thought: str,
    text: str,
    calls: list[tuple[str, str]],
    at_once: int,
    max_tokens: int,
    display: str,
    stop: str | None,
) -> None:
    thinker.engine.script = say(thinker, thought=thought, text=text, calls=calls, at_once=at_once)
    fields = {
        "tools": [WEATHER, TIME],
        "thinking": {**BUDGET, "display": display},
        "max_tokens": max_tokens,
        "stop_sequences": [stop] if stop else None,
    }
    whole = (await ask(thinker, **fields)).json()
    streamed = gathered(events((await ask(thinker, **fields, stream=True)).text))
    assert comparable(streamed) == comparable(whole)
    if whole["stop_reason"] in ("end_turn", "tool_use"):
        kinds = [block["type"] for block in whole["content"]]
        assert kinds == ["thinking", *["text"] * bool(text), *["tool_use"] * len(calls)]
        assert whole["content"][0]["thinking"] == (thought if display == "summarized" else "")
        assert [block["input"] for block in whole["content"] if block["type"] == "tool_use"] == [
            json.loads(arguments or "{}") for _, arguments in calls
        ]


@pytest.mark.parametrize(
    ("fields", "reason", "sequence"),
    [
        ({}, "end_turn", None),
        ({"max_tokens": 3}, "max_tokens", None),
        ({"stop_sequences": ["never", "costs"]}, "stop_sequence", "costs"),
        ({"max_tokens": 2**31 - 1}, "end_turn", None),
    ],
)
async def test_stop_reasons(served: Served, fields: dict[str, Any], reason: str, sequence: str | None) -> None:
    for stream in (False, True):
        answer = await ask(served, stream=stream, **fields)
        end = events(answer.text)[-2]["delta"] if stream else answer.json()
        assert (end["stop_reason"], end["stop_sequence"]) == (reason, sequence)


async def test_the_end_of_the_context_is_a_reason(served: Served) -> None:
    served.engine.script = say(served, text="long " * 5000)
    whole = (await ask(served, max_tokens=100_000)).json()
    assert whole["stop_reason"] == "model_context_window_exceeded"
    assert whole["usage"]["input_tokens"] + whole["usage"]["output_tokens"] == 4096
    assert (await ask(served, max_tokens=whole["usage"]["output_tokens"])).json()["stop_reason"] == "max_tokens"


async def test_ids_of_calls(served: Served) -> None:
    served.engine.script = say(served, calls=[("get_weather", '{"city": "a"}')] * 2)
    ids = {block["id"] for block in (await ask(served, tools=[WEATHER])).json()["content"]}
    assert len(ids) == 2
    assert all(re.fullmatch("toolu_[0-9a-f]{24}", id) for id in ids)


def test_ids_that_clients_may_see_are_kept() -> None:
    events = [ToolCallStart(0, "plain-id_1", "f"), ToolCallEnd(0), Finished("tool_calls", Usage(1, 0, 1))]

    async def source() -> AsyncIterator[tuple[int, Event]]:
        for event in events:
            yield 0, event

    answer = Answer(id="msg_1", model="m", max_tokens=9, diagnostics=False, hide_thinking=False)
    block = json.loads(asyncio.run(answer.whole(source())))["content"][0]
    assert block == {"type": "tool_use", "id": "plain-id_1", "name": "f", "input": {}}


async def test_a_cut_call_has_the_input_that_was_made(served: Served) -> None:
    served.engine.script = say(served, calls=[("get_weather", '{"city": "Zürich", "days": 3}')])
    markers = 3 + len(served.model.tokenizer.encode("functions.get_weather:0"))
    cut = len(served.model.tokenizer.encode('{"city": "Zürich", "da'))
    whole = (await ask(served, tools=[WEATHER], max_tokens=markers + cut)).json()
    assert whole["stop_reason"] == "max_tokens"
    assert whole["content"][0]["input"] == {"city": "Zürich"}


@pytest.mark.parametrize("arguments", ["nothing", "[1]", '{"city": "\\ud800"}'])
async def test_arguments_that_are_no_object_are_kept_as_text(served: Served, arguments: str) -> None:
    served.engine.script = say(served, calls=[("get_weather", arguments)])
    assert (await ask(served, tools=[WEATHER])).json()["content"][0]["input"] == {"arguments": arguments}


async def test_silence_is_filled_with_pings(serve: Callable[..., Served]) -> None:
    served = serve(keep_alive_seconds=0.1)
    started = asyncio.Event()
    script = say(served, text="late")
    served.engine.script = lambda request: [0.35, started, *script(request)]
    call = HandCall(served.app, message(stream=True), "/v1/messages")
    await call.until(b'event: ping\ndata: {"type": "ping"}\n\n')
    started.set()
    await call.task
    told = events(call.body.decode())
    assert told[-1]["type"] == "message_stop"
    assert gathered([one for one in told if one["type"] != "ping"])["content"] == [{"type": "text", "text": "late"}]


async def test_an_error_midway_is_an_event(served: Served) -> None:
    script = say(served, text="some words of an answer")
    served.engine.script = lambda request: [*list(script(request))[:3], EngineUnavailable("it died")]
    answer = await ask(served, stream=True)
    assert answer.status_code == 200
    error = events(answer.text)[-1]
    assert error["type"] == "error"
    assert error["error"] == {"type": "overloaded_error", "message": "it died"}
    assert error["request_id"] == answer.headers["request-id"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_hangs_up_ends_its_request(served: Served, stream: bool) -> None:
    script = say(served, text="some words")
    never = asyncio.Event()
    served.engine.script = lambda request: [*list(script(request))[:2], never]
    call = HandCall(served.app, message(stream=stream), "/v1/messages")
    while not served.engine.running:
        await asyncio.sleep(0)
    if stream:
        await call.until(b"text_delta")
    call.hang_up()
    await asyncio.wait_for(call.task, 10)
    assert len(served.engine.cancelled) == 1


async def test_counting_needs_no_engine_and_counts_what_is_asked(served: Served) -> None:
    fields = {"system": "Be brief.", "tools": [WEATHER], "messages": [{"role": "user", "content": "Grüße"}]}
    usage = (await ask(served, **fields)).json()["usage"]
    served.engine.status.state = "stalled"
    counted = await ask(served, "/v1/messages/count_tokens", **fields)
    assert counted.json() == {"input_tokens": usage["input_tokens"]}
    assert counted.headers["request-id"]
    assert len(served.engine.requests) == 1


async def test_an_alias_is_served_and_borne_by_the_answer(served: Served) -> None:
    served = Served(dataclasses.replace(served.model, aliases=("claude-*",)))
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        assert (await ask(served, path, model="claude-sonnet-5")).status_code == 200
        assert (await ask(served, path, model="other")).status_code == 404
    assert (await ask(served, model="claude-sonnet-5")).json()["model"] == "claude-sonnet-5"
    chat = await served.post(model="claude-sonnet-5")
    assert chat.json()["model"] == "claude-sonnet-5"
    async with served.client() as client:
        assert [one["id"] for one in (await client.get("/v1/models")).json()["data"]] == [MODEL, "alias"]


async def test_diagnostics_are_answered_honestly(served: Served) -> None:
    for stream in (False, True):
        for asked, told in ((None, None), ("msg_1", {"cache_miss_reason": {"type": "unavailable"}})):
            answer = await ask(served, stream=stream, diagnostics={"previous_message_id": asked})
            body = events(answer.text)[0]["message"] if stream else answer.json()
            assert body.get("diagnostics") == told
