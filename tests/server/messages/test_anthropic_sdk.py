"""Anthropic's own SDK against the application, under uvicorn on loopback: it must understand every answer."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
import uvicorn
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.beta import BetaMessage
from pydantic import BaseModel, ConfigDict, TypeAdapter
from support.messages import BUDGET, CALLS, TIME, WEATHER, say
from support.served import ANSWER, MODEL, Served

from engine import EngineUnavailable
from server.served_model import ServedModel

pytestmark = pytest.mark.anyio
HELLO: Any = [{"role": "user", "content": "Hello"}]
ASKED: dict[str, Any] = {"model": MODEL, "max_tokens": 200, "messages": HELLO}


@pytest.fixture
async def running(thinker_model: ServedModel) -> AsyncIterator[tuple[Served, anthropic.AsyncAnthropic]]:
    """The application behind a real server, and the SDK."""
    served = Served(thinker_model, api_key=("sdk-key",))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(served.app, http="httptools", ws="none", log_level="error"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with anthropic.AsyncAnthropic(base_url=url, api_key="sdk-key", max_retries=0) as client:
        yield served, client
    server.should_exit = True
    await serving
    listener.close()


def check(body: BaseModel, schema: Any) -> None:
    """The SDK builds its objects unchecked; here they are checked, and nothing may be in them that it does not know."""
    known = TypeAdapter(schema).validate_json(body.model_dump_json(exclude_unset=True, by_alias=True), strict=True)
    assert not unknown(known)


def unknown(body: Any) -> list[str]:
    """The members that no model declares."""
    if isinstance(body, BaseModel):
        found = list(body.model_extra or ())
        return found + [one for value in dict(body).values() for one in unknown(value)]
    return [one for item in body for one in unknown(item)] if isinstance(body, list) else []


async def test_a_whole_answer(running: tuple[Served, anthropic.AsyncAnthropic]) -> None:
    _, client = running
    answer = await client.messages.create(**ASKED)
    check(answer, Message)
    assert answer.content[0].type == "text"
    assert answer.content[0].text == ANSWER
    assert answer._request_id
    assert answer.usage.cache_read_input_tokens == 0


@pytest.mark.parametrize("display", ["summarized", "omitted"])
async def test_all_that_an_answer_can_have(running: tuple[Served, anthropic.AsyncAnthropic], display: str) -> None:
    served, client = running
    served.engine.script = say(served, thought="Let me see.", text="Hm.", calls=CALLS)
    fields = {**ASKED, "tools": [WEATHER, TIME], "thinking": {**BUDGET, "display": display}}
    whole = await client.messages.create(**fields)
    check(whole, Message)
    async with client.messages.stream(**fields) as stream:
        streamed = await stream.get_final_message()
    check(streamed, Message)
    assert [block.type for block in whole.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert whole.content[2].type == "tool_use"
    assert whole.content[2].input == {"city": "Zürich"}
    unlike = {"id": True, "content": {2: {"id"}, 3: {"id"}}}
    assert streamed.model_dump(exclude=unlike) == whole.model_dump(exclude=unlike)  # type: ignore[arg-type]


async def test_every_event_is_known(running: tuple[Served, anthropic.AsyncAnthropic]) -> None:
    served, client = running
    served.engine.script = say(served, thought="Let me see.", text="Hm.", calls=CALLS)
    kinds = set()
    async for event in await client.messages.create(**ASKED, tools=[WEATHER, TIME], thinking=BUDGET, stream=True):
        check(event, RawMessageStreamEvent)
        kinds.add(event.type)
    assert len(kinds) == 6


async def test_the_text_stream(running: tuple[Served, anthropic.AsyncAnthropic]) -> None:
    _, client = running
    async with client.messages.stream(**ASKED) as stream:
        assert "".join([text async for text in stream.text_stream]) == ANSWER


async def test_counting(running: tuple[Served, anthropic.AsyncAnthropic]) -> None:
    _, client = running
    counted = await client.messages.count_tokens(model=MODEL, messages=HELLO, tools=[WEATHER], system="x")  # type: ignore[list-item]
    answer = await client.messages.create(**ASKED, tools=[WEATHER], system="x")  # type: ignore[list-item]
    assert counted.input_tokens == answer.usage.input_tokens
    beta = await client.beta.messages.count_tokens(model=MODEL, messages=HELLO, betas=["token-counting-2024-11-01"])
    assert beta.input_tokens > 0


async def test_the_tool_runner(running: tuple[Served, anthropic.AsyncAnthropic]) -> None:
    served, client = running
    asked = []

    @anthropic.beta_async_tool
    async def get_weather(city: str) -> str:
        """The weather.

        Args:
            city: where
        """
        asked.append(city)
        if city == "Nowhere":
            raise ValueError("no such city")
        return "12°"

    turns = iter(
        [
            say(
                served,
                text="I look.",
                calls=[("get_weather", '{"city": "Zürich"}'), ("get_weather", '{"city": "Nowhere"}')],
            ),
            say(served, text="12° it is."),
        ]
    )
    served.engine.script = lambda request: next(turns)(request)
    runner = client.beta.messages.tool_runner(**ASKED, tools=[get_weather])
    last = await runner.until_done()
    check(last, BetaMessage)
    assert last.content[0].type == "text"
    assert last.content[0].text == "12° it is."
    assert asked == ["Zürich", "Nowhere"]
    seen = b"".join(map(served.model.tokenizer.token_bytes, served.engine.requests[-1].prompt)).decode()
    assert "12°" in seen
    assert "Error: " in seen


async def test_structured_output(running: tuple[Served, anthropic.AsyncAnthropic]) -> None:
    class Answer(BaseModel):
        model_config = ConfigDict(extra="forbid")
        city: str
        sunny: bool

    served, client = running
    served.engine.script = say(served, text='{"city": "Zürich", "sunny": true}')
    answer = await client.messages.parse(**ASKED, output_format=Answer)
    assert answer.parsed_output == Answer(city="Zürich", sunny=True)
    grammar = served.engine.requests[0].grammar
    assert grammar is not None
    assert "sunny" in (grammar.source or "")


async def test_errors_have_their_classes(running: tuple[Served, anthropic.AsyncAnthropic]) -> None:
    served, client = running
    with pytest.raises(anthropic.BadRequestError) as bad:
        await client.messages.create(**{**ASKED, "messages": []})
    assert bad.value.type == "invalid_request_error"
    assert bad.value.request_id
    with pytest.raises(anthropic.AuthenticationError) as unknown_key:
        await client.with_options(api_key="wrong").messages.create(**ASKED)
    assert unknown_key.value.type == "authentication_error"
    with pytest.raises(anthropic.NotFoundError) as unknown_model:
        await client.messages.create(**{**ASKED, "model": "claude-5"})
    assert unknown_model.value.type == "not_found_error"
    with pytest.raises(anthropic.RequestTooLargeError):
        await client.messages.create(**{**ASKED, "system": "x" * 10_000_000})
    served.engine.status.state = "stalled"
    for failing in (client.messages.create(**ASKED), client.messages.create(**ASKED, stream=True)):
        with pytest.raises(anthropic.InternalServerError) as overloaded:
            await failing
        assert (overloaded.value.status_code, overloaded.value.type) == (529, "overloaded_error")
        assert overloaded.value.response.headers["retry-after"]


async def test_a_bearer_token_is_a_key_too(running: tuple[Served, anthropic.AsyncAnthropic]) -> None:
    _, client = running
    bearer = anthropic.AsyncAnthropic(base_url=client.base_url, auth_token="sdk-key", api_key=None, max_retries=0)
    async with bearer:
        assert (await bearer.messages.create(**ASKED)).content


async def test_an_engine_that_dies_raises_in_the_stream(running: tuple[Served, anthropic.AsyncAnthropic]) -> None:
    served, client = running
    script = say(served, text="a sentence of many tokens")
    served.engine.script = lambda request: [*list(script(request))[:2], 0.01, EngineUnavailable("died")]
    with pytest.raises(anthropic.APIStatusError, match="died") as caught:
        async for _ in await client.messages.create(**ASKED, stream=True):
            pass
    assert caught.value.type == "overloaded_error"


async def test_what_coding_agents_send(running: tuple[Served, anthropic.AsyncAnthropic]) -> None:
    served, client = running
    served.engine.script = say(served, thought="So.", text="Done.", calls=CALLS)
    cached = {"cache_control": {"type": "ephemeral"}}
    fields: dict[str, Any] = {
        **ASKED,
        "max_tokens": 32_000,
        "system": [
            {"type": "text", "text": "You are an agent."},
            {"type": "text", "text": "# Rules", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Fix it.", **cached}]}],
        "tools": [{**WEATHER, **cached, "eager_input_streaming": True}, {**TIME, "strict": True}],
        "metadata": {"user_id": json.dumps({"device": "d" * 64, "session": "s" * 36})},
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "betas": ["claude-code-20250219", "interleaved-thinking-2025-05-14", "context-management-2025-06-27"],
    }
    async with client.beta.messages.stream(**fields) as stream:
        answer = await stream.get_final_message()
    check(answer, BetaMessage)
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "ok"}
        for block in answer.content
        if block.type == "tool_use"
    ]
    served.engine.script = say(served, thought="", text="Good.")
    fields["messages"] += [answer.to_param(), {"role": "user", "content": results}]
    async with client.beta.messages.stream(**fields) as stream:
        assert (await stream.get_final_message()).stop_reason == "end_turn"
