"""Google's own SDK against the application, under uvicorn on loopback: it must understand every answer."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from google import genai
from google.genai import errors, types
from pydantic import BaseModel
from support.gemini import TOOLS
from support.messages import CALLS, say
from support.served import ANSWER, MODEL, Served

from engine import EngineUnavailable
from server.served_model import ServedModel

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
async def running(thinker_model: ServedModel) -> AsyncIterator[tuple[Served, Any]]:
    """The application behind a real server, and the SDK."""
    served = Served(thinker_model, api_key=("sdk-key",), keep_alive_seconds=0.1)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(served.app, http="httptools", ws="none", log_level="error"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    served.engine.script = say(served, thought="", text=ANSWER)  # the model thinks if nothing is said
    client = genai.Client(api_key="sdk-key", http_options=types.HttpOptions(base_url=url))
    yield served, client.aio
    await client.aio.aclose()
    client.close()
    server.should_exit = True
    await serving
    listener.close()


def check(response: types.GenerateContentResponse) -> None:
    """The SDK's objects are checked once more, strictly; and all that was sent is in them."""
    assert response.candidates
    types.GenerateContentResponse.model_validate(response.model_dump(exclude={"sdk_http_response"}), strict=True)


async def test_a_whole_answer(running: tuple[Served, Any]) -> None:
    _, client = running
    answer = await client.models.generate_content(model=MODEL, contents="Hello")
    check(answer)
    assert answer.text == ANSWER
    assert answer.candidates[0].finish_reason is types.FinishReason.STOP
    assert answer.model_version == MODEL
    usage = answer.usage_metadata
    parts = usage.prompt_token_count + usage.thoughts_token_count + usage.candidates_token_count
    assert parts == usage.total_token_count


async def test_a_stream_with_pauses(running: tuple[Served, Any]) -> None:
    served, client = running
    script = say(served, thought="", text=ANSWER)
    served.engine.script = lambda request: [0.25, *script(request)]
    chunks = [
        chunk async for chunk in await client.models.generate_content_stream(model=MODEL, contents=["Hello", "you"])
    ]
    for chunk in chunks:
        check(chunk)
    assert "".join(chunk.text or "" for chunk in chunks) == ANSWER
    assert chunks[-1].candidates[0].finish_reason is types.FinishReason.STOP
    assert chunks[-1].usage_metadata.candidates_token_count > 0
    assert len({chunk.response_id for chunk in chunks}) == 1


async def test_all_that_an_answer_can_have(running: tuple[Served, Any]) -> None:
    served, client = running
    served.engine.script = say(served, thought="Let me see.", text="Hm.", calls=CALLS)
    config = types.GenerateContentConfig(
        tools=TOOLS,
        system_instruction="Be brief.",
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        max_output_tokens=200,
        stop_sequences=["never"],
        seed=7,
        presence_penalty=0.1,
        frequency_penalty=0.1,
        response_logprobs=True,
        logprobs=2,
        candidate_count=2,
        labels=None,
        safety_settings=[types.SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_NONE")],  # type: ignore[arg-type]
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=-1),
        tool_config=types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="AUTO")),  # type: ignore[arg-type]
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    answer = await client.models.generate_content(model=MODEL, contents="Hello", config=config)
    check(answer)
    assert len(answer.candidates) == 2
    thought, text, first, second = answer.candidates[1].content.parts
    assert (thought.thought, thought.text, text.text) == (True, "Let me see.", "Hm.")
    assert (first.function_call.name, first.function_call.args) == ("get_weather", {"city": "Zürich"})
    assert (second.function_call.name, second.function_call.args) == ("get-time", {})
    assert first.thought_signature
    assert len(answer.candidates[0].logprobs_result.top_candidates[0].candidates) == 2
    thoughts = len(served.model.tokenizer.encode("Let me see.")) + 1  # and the marker of its end
    assert answer.usage_metadata.thoughts_token_count == 2 * thoughts


async def test_automatic_function_calling(running: tuple[Served, Any]) -> None:
    served, client = running
    asked = []

    def get_weather(city: str) -> str:
        """The weather."""
        asked.append(city)
        if city == "Nowhere":
            raise ValueError("no such city")
        return "12°"

    calls = [("get_weather", '{"city": "Zürich"}'), ("get_weather", '{"city": "Nowhere"}')]
    turns = iter(
        [say(served, thought="Look.", text="I look.", calls=calls), say(served, thought="", text="12° it is.")]
    )
    served.engine.script = lambda request: next(turns)(request)
    config = types.GenerateContentConfig(tools=[get_weather], thinking_config=types.ThinkingConfig(thinking_budget=-1))
    answer = await client.models.generate_content(model=MODEL, contents="The weather?", config=config)
    check(answer)
    assert answer.text == "12° it is."
    assert asked == ["Zürich", "Nowhere"]
    seen = b"".join(map(served.model.tokenizer.token_bytes, served.engine.requests[-1].prompt)).decode()
    assert "<think>Look.</think>I look." in seen
    assert '{"result": "12°"}' in seen
    assert "no such city" in seen


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_chat_keeps_its_history(running: tuple[Served, Any], streamed: bool) -> None:
    served, client = running
    served.engine.script = say(served, thought="", text="Good day to you.")
    chat = client.chats.create(model=MODEL)
    for _ in range(2):
        if streamed:
            text = "".join([chunk.text or "" async for chunk in await chat.send_message_stream("Hello")])
        else:
            text = (await chat.send_message("Hello")).text
        assert text == "Good day to you."
    seen = b"".join(map(served.model.tokenizer.token_bytes, served.engine.requests[-1].prompt)).decode()
    assert seen.count("Good day to you.") == 1
    assert seen.count("Hello") == 2


async def test_structured_output(running: tuple[Served, Any]) -> None:
    class City(BaseModel):
        name: str
        sunny: bool | None

    served, client = running
    served.engine.script = say(served, thought="", text='{"name": "Zürich", "sunny": true}')
    for field in ("response_schema", "response_json_schema"):
        schema: Any = City if field == "response_schema" else City.model_json_schema()
        config = types.GenerateContentConfig(response_mime_type="application/json", **{field: schema})  # type: ignore[arg-type]
        answer = await client.models.generate_content(model=MODEL, contents="x", config=config)
        assert json.loads(answer.text) == {"name": "Zürich", "sunny": True}
        if field == "response_schema":
            assert answer.parsed == City(name="Zürich", sunny=True)
        grammar = served.engine.requests[-1].grammar
        assert grammar is not None
        assert "sunny" in (grammar.source or "")


async def test_counting_and_models(running: tuple[Served, Any]) -> None:
    _, client = running
    counted = await client.models.count_tokens(model=MODEL, contents="Hello")
    answer = await client.models.generate_content(model=MODEL, contents="Hello")
    assert counted.total_tokens == answer.usage_metadata.prompt_token_count
    listed = [model async for model in await client.models.list(config={"page_size": 1})]
    assert [model.name for model in listed] == [f"models/{MODEL}"]
    model = await client.models.get(model=MODEL)
    assert (model.input_token_limit, model.thinking) == (4096, True)
    assert "generateContent" in model.supported_actions


async def test_errors_have_their_classes(running: tuple[Served, Any]) -> None:
    served, client = running
    config = types.GenerateContentConfig(temperature=9)
    with pytest.raises(errors.ClientError) as bad:
        await client.models.generate_content(model=MODEL, contents="x", config=config)
    assert (bad.value.code, bad.value.status) == (400, "INVALID_ARGUMENT")
    assert "generationConfig.temperature" in (bad.value.message or "")
    with pytest.raises(errors.ClientError) as unknown:
        await client.models.generate_content(model="gemini-9", contents="x")
    assert (unknown.value.code, unknown.value.status) == (404, "NOT_FOUND")
    served.engine.status.state = "stalled"
    with pytest.raises(errors.ServerError) as unavailable:
        await client.models.generate_content(model=MODEL, contents="x")
    with pytest.raises(errors.ServerError) as streaming:
        await anext(await client.models.generate_content_stream(model=MODEL, contents="x"))
    for caught in (unavailable, streaming):
        assert (caught.value.code, caught.value.status) == (503, "UNAVAILABLE")


async def test_an_engine_that_dies_raises_in_the_stream(running: tuple[Served, Any]) -> None:
    served, client = running
    script = say(served, thought="", text="a sentence of many tokens")
    served.engine.script = lambda request: [*list(script(request))[:2], 0.01, EngineUnavailable("died")]
    with pytest.raises(errors.APIError, match="died"):
        async for _ in await client.models.generate_content_stream(model=MODEL, contents="x"):
            pass
