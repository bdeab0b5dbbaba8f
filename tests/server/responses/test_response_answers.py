"""Responses, whole and streamed: what they hold, that streams add up to them, that they are as specified."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.messages import say, thinking_model
from support.responses import (
    TIME,
    WEATHER,
    answered,
    ask,
    check,
    comparable,
    event_schemas,
    gathered,
    specified,
    streamed,
)
from support.served import ANSWER, MODEL, Served

pytestmark = pytest.mark.anyio
LOGPROBS = "message.output_text.logprobs"
CALLS = [("get_weather", '{"city": "Zürich"}'), ("get-time", "")]


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A model that thinks unless it is told not to."""
    return Served(thinking_model(tmp_path_factory.mktemp("thinking") / "model"))


async def test_a_whole_response(served: Served) -> None:
    body = await answered(served, instructions="Be short.", metadata={"a": "b"}, user="u", top_p=0.5)
    name = body["id"].removeprefix("resp_")
    assert body["created_at"] <= body["completed_at"]
    assert {name: body[name] for name in ("status", "model", "error", "instructions", "metadata", "user", "top_p")} == {
        "status": "completed",
        "model": MODEL,
        "error": None,
        "instructions": "Be short.",
        "metadata": {"a": "b"},
        "user": "u",
        "top_p": 0.5,
    }
    assert body["temperature"] == 0.6  # the checkpoint's
    assert body["store"] is False  # nothing is stored here
    content = {"type": "output_text", "text": ANSWER, "annotations": [], "logprobs": []}
    message = {"type": "message", "id": f"msg_{name}_0", "status": "completed", "role": "assistant"}
    assert body["output"] == [{**message, "content": [content]}]
    assert body["usage"] == {
        "input_tokens": len(served.engine.requests[0].prompt),
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": len(served.model.tokenizer.encode(ANSWER)) + 1,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": len(served.engine.requests[0].prompt) + len(served.model.tokenizer.encode(ANSWER)) + 1,
    }


async def test_the_events_of_a_message(served: Served) -> None:
    kinds = [event["type"].removeprefix("response.") for event in await streamed(served)]
    assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert set(kinds[4:-4]) == {"output_text.delta"}
    assert kinds[-4:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]


async def test_the_events_of_calls_and_thoughts(thinker: Served) -> None:
    thinker.engine.script = say(thinker, thought="Hm.", calls=CALLS, at_once=1000)
    kinds = [event["type"].removeprefix("response.") for event in await streamed(thinker, tools=[WEATHER, TIME])]
    thought = [
        *("output_item.added", "content_part.added", "reasoning_text.delta"),
        *("reasoning_text.done", "content_part.done", "output_item.done"),
    ]
    call = [
        *("output_item.added", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
    ]
    assert kinds == ["created", "in_progress", *thought, *call, *call, "completed"]


async def test_function_calls(thinker: Served) -> None:
    thinker.engine.script = say(thinker, thought="Hm.", text="Let me see.", calls=CALLS)
    body = await answered(thinker, tools=[WEATHER, TIME])
    thought, message, first, second = body["output"]
    assert thought["content"] == [{"type": "reasoning_text", "text": "Hm."}]
    assert thought["summary"] == []
    assert message["content"][0]["text"] == "Let me see."
    assert (first["name"], first["arguments"]) == CALLS[0]
    assert (second["name"], second["arguments"]) == ("get-time", "{}")
    assert first["call_id"] == "functions.get_weather:0"
    assert len({item["id"] for item in body["output"]}) == 4
    assert body["usage"]["output_tokens_details"]["reasoning_tokens"] > 0


async def test_thoughts_as_summary_and_sealed(thinker: Served) -> None:
    thinker.engine.script = say(thinker, thought="Hm, 漢.", text="Yes.")
    include = ["reasoning.encrypted_content"]
    thought = (await answered(thinker, reasoning={"summary": "auto"}, include=include))["output"][0]
    assert thought["summary"] == [{"type": "summary_text", "text": "Hm, 漢."}]
    assert "content" not in thought
    again = [{"role": "user", "content": "a"}, {**thought, "summary": []}, {"role": "assistant", "content": "b"}]
    await answered(thinker, input=again)
    prompt = b"".join(map(thinker.model.tokenizer.token_bytes, thinker.engine.requests[-1].prompt)).decode()
    assert "<think>Hm, 漢.</think>b" in prompt
    refused = await ask(thinker, input=[{"type": "reasoning", "summary": [], "encrypted_content": "gAAAA!"}])
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "input[0].encrypted_content"


async def test_an_answer_that_is_cut_off_is_incomplete(served: Served) -> None:
    body = await answered(served, max_output_tokens=3)
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert body["output"][0]["status"] == "incomplete"
    assert body["completed_at"] is None
    *_, last = await streamed(served, max_output_tokens=3)
    assert last["type"] == "response.incomplete"


async def test_an_answer_without_words_has_an_empty_message(thinker: Served) -> None:
    thinker.engine.script = say(thinker, thought="Hm.")
    assert [item["type"] for item in (await answered(thinker))["output"]] == ["reasoning", "message"]


async def test_logprobs(served: Served) -> None:
    body = await answered(served, include=[LOGPROBS], top_logprobs=2)
    told = body["output"][0]["content"][0]["logprobs"]
    assert {len(one["top_logprobs"]) for one in told} == {2}
    assert bytes(byte for one in told for byte in one["bytes"]).decode() == ANSWER


async def test_the_format_reaches_the_grammar_and_the_choice_the_prompt(served: Served) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [None, 1]}}}
    format = {"type": "json_schema", "name": "x", "schema": schema}
    body = await answered(served, text={"format": format})
    assert body["text"]["format"] == format
    assert served.engine.requests[-1].grammar is not None
    choices = [
        "required",
        {"type": "function", "name": "get_weather"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "get-time"}]},
    ]
    for choice in choices:
        body = await answered(served, tools=[WEATHER, TIME], tool_choice=choice)
        assert body["tool_choice"] == choice
        grammar = served.engine.requests[-1].grammar
        assert grammar is not None
        assert ("get_weather" in (grammar.source or "")) is (choice != choices[2])
        assert ("get-time" in (grammar.source or "")) is (choice != choices[1])
    for choice in ("none", "auto"):
        assert (await answered(served, tool_choice=choice, tools=[]))["tool_choice"] == choice


async def test_tokens_are_counted_without_generating(served: Served) -> None:
    plain = {"instructions": "Be short.", "tools": [WEATHER], "input": [{"role": "user", "content": "Hello"}]}
    body = await answered(served, **plain)
    engine_requests = len(served.engine.requests)
    counted = await ask(served, "/v1/responses/input_tokens", **plain, model=MODEL)
    assert counted.json() == {"object": "response.input_tokens", "input_tokens": body["usage"]["input_tokens"]}
    assert len(served.engine.requests) == engine_requests


words = st.text(st.sampled_from("ab \n.}{\"'é漢🦀"), min_size=1, max_size=12)


@given(
    thought=words,
    text=st.one_of(st.just(""), words),
    calls=st.lists(st.sampled_from([*CALLS, ("get_weather", '{"city": "a\\n\\"b", "n": [1, 2.5]}')]), max_size=3),
    at_once=st.integers(1, 9),
    max_tokens=st.integers(1, 120),
    fields=st.fixed_dictionaries(
        {
            "reasoning": st.sampled_from([None, {"summary": "detailed"}, {"summary": "auto", "effort": "medium"}]),
            "include": st.lists(st.sampled_from([LOGPROBS, "reasoning.encrypted_content"]), max_size=2),
            "stop": st.one_of(st.none(), words),
        }
    ),
)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_stream_adds_up_to_the_whole(
    thinker: Served,
    thought: str,
    text: str,
    calls: list[tuple[str, str]],
    at_once: int,
    max_tokens: int,
    fields: dict[str, Any],
) -> None:
    thinker.engine.script = say(thinker, thought=thought, text=text, calls=calls, at_once=at_once)
    fields = {**fields, "tools": [WEATHER, TIME], "max_output_tokens": max_tokens}
    whole = await answered(thinker, **fields)
    assert comparable(gathered(await streamed(thinker, **fields))) == comparable(whole)
    if whole["status"] == "completed" and fields["stop"] is None:
        kinds = [item["type"] for item in whole["output"]]
        assert kinds == ["reasoning", *["message"] * bool(text or not calls), *["function_call"] * len(calls)]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"include": [LOGPROBS, "reasoning.encrypted_content"], "top_logprobs": 1},
        {"reasoning": {"summary": "detailed", "effort": "medium"}, "metadata": {"a": "b"}, "user": "u"},
        {"max_output_tokens": 2},
        {"max_output_tokens": 9},
        {"text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}}, "max_tool_calls": 2},
        {"tool_choice": {"type": "function", "name": "get-time"}, "tools": [TIME], "safety_identifier": "s"},
    ],
    ids=str,
)
async def test_everything_is_as_specified(thinker: Served, fields: dict[str, Any]) -> None:
    thinker.engine.script = say(thinker, thought="Hm.", text="Let me see.", calls=CALLS)
    fields = {"tools": [WEATHER, TIME], **fields}
    body = await answered(thinker, **fields)
    check("Response", body)
    assert set(body) <= specified("Response") | {"store", "max_output_tokens"}
    for event in await streamed(thinker, **fields):
        check(event_schemas()[event["type"]], event)
    check("TokenCountsResource", (await ask(thinker, "/v1/responses/input_tokens")).json())


async def test_an_engine_that_dies_midway_fails_the_response(serve: Callable[..., Served], tmp_path: Path) -> None:
    from engine import EngineUnavailable

    served = serve(store=f"sqlite:///{tmp_path}/store.db")
    script = served.say(ANSWER)
    served.engine.script = lambda request: [*list(script(request))[:4], EngineUnavailable("The engine died.")]
    stream = await streamed(served)
    body = gathered(stream)
    assert stream[-1]["type"] == "response.failed"
    assert body["error"] == {"code": "server_error", "message": "The engine died."}
    assert body["output"][0]["status"] == "incomplete"
    check("ResponseFailedEvent", stream[-1])
    async with served.client() as client:
        assert (await client.get(f"/v1/responses/{body['id']}")).json() == body
        refused = await client.post("/v1/responses", json={"model": MODEL, "previous_response_id": body["id"]})
    assert refused.status_code == 400
    assert "failed" in refused.json()["error"]["message"]
    whole = await ask(served)
    assert (whole.status_code, whole.json()["error"]["code"]) == (503, "engine_unavailable")
    await served.app.state.store.close()
