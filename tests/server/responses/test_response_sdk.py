"""OpenAI's own SDK: it must understand every object, event and list."""

from typing import Any

import openai
import pytest
from openai.types.conversations import Conversation
from openai.types.responses import Response, ResponseFunctionToolCall, ResponseOutputMessage
from pydantic import BaseModel
from support.messages import say
from support.responses import TIME, WEATHER
from support.served import ANSWER, MODEL, Served

pytestmark = pytest.mark.anyio
CALLS = [("get_weather", '{"city": "Zürich"}')]


class City(BaseModel):
    name: str
    people: int


async def test_a_response_and_its_input(client: openai.AsyncOpenAI) -> None:
    made = await client.responses.create(
        model=MODEL,
        input="Hello",
        metadata={"a": "b"},
        include=["message.output_text.logprobs"],
        extra_body={"top_k": 5},
    )
    Response.model_validate(made.model_dump(), strict=True)
    assert made.output_text == ANSWER
    assert (await client.responses.retrieve(made.id)).model_dump() == made.model_dump()
    items = [item async for item in client.responses.input_items.list(made.id)]
    assert [item.content[0].text for item in items] == ["Hello"]  # type: ignore[union-attr]
    await client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(made.id)


async def test_a_stream_and_the_sdks_own_accumulator(client: openai.AsyncOpenAI, keeping: Served) -> None:
    keeping.engine.script = say(keeping, text="Let me see.", calls=CALLS, at_once=3)
    tools: Any = [WEATHER, TIME]
    async with client.responses.stream(model=MODEL, input="Hello", tools=tools) as stream:
        snapshots = [event.snapshot async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert snapshots[-1] == "Let me see." == final.output_text
    message, call = final.output
    assert isinstance(message, ResponseOutputMessage)
    assert isinstance(call, ResponseFunctionToolCall)
    assert (call.name, call.arguments) == CALLS[0]


async def test_parsing_into_a_model(client: openai.AsyncOpenAI, keeping: Served) -> None:
    keeping.engine.script = keeping.say('{"name": "Zürich", "people": 448664}')
    parsed = await client.responses.parse(model=MODEL, input="Hello", text_format=City)
    assert parsed.output_parsed == City(name="Zürich", people=448664)
    grammar = keeping.engine.requests[-1].grammar
    assert grammar is not None
    assert "people" in (grammar.source or "")
    async with client.responses.stream(model=MODEL, input="Hello", text_format=City) as stream:
        final = await stream.get_final_response()
    assert final.output_parsed == parsed.output_parsed


async def test_output_goes_back_as_input(client: openai.AsyncOpenAI, keeping: Served) -> None:
    """As agents do it: the whole output behind the input, then the calls' outputs."""
    keeping.engine.script = say(keeping, text="Let me see.", calls=CALLS)
    tools: Any = [WEATHER]
    history: list[Any] = [{"role": "user", "content": "The weather in Zürich?"}]
    for make in (client.responses.parse, client.responses.create):
        made: Any = await make(model=MODEL, input=history, tools=tools, store=False)
        called = made.output[-1]
        assert isinstance(called, ResponseFunctionToolCall)
        history += made.output
        history.append({"type": "function_call_output", "call_id": called.call_id, "output": "sunny"})
    await client.responses.create(model=MODEL, input=[*history, *made.model_dump()["output"][:1]], tools=tools)
    prompt = b"".join(map(keeping.model.tokenizer.token_bytes, keeping.engine.requests[-1].prompt)).decode()
    assert prompt.count("Let me see.") == 3
    assert prompt.count("\nsunny<|im_end|>") == 2


async def test_the_background(client: openai.AsyncOpenAI) -> None:
    queued = await client.responses.create(model=MODEL, input="Hello", background=True)
    Response.model_validate(queued.model_dump(), strict=True)
    assert queued.status == "queued"
    stream = await client.responses.create(model=MODEL, input="Hello", background=True, stream=True)
    events = [event async for event in stream]
    assert [events[0].type, events[1].type, events[-1].type] == [
        "response.created",
        "response.queued",
        "response.completed",
    ]
    id = events[0].response.id  # type: ignore[union-attr]
    again = await client.responses.retrieve(id, stream=True, starting_after=5)
    assert [event.model_dump() async for event in again] == [event.model_dump() for event in events[6:]]
    assert (await client.responses.cancel(id)).status == "completed"
    assert (await client.responses.retrieve(id)).output_text == ANSWER


async def test_conversations(client: openai.AsyncOpenAI) -> None:
    made = await client.conversations.create(items=[{"role": "user", "content": "Hi"}], metadata={"a": "b"})
    Conversation.model_validate(made.model_dump(), strict=True)
    await client.responses.create(model=MODEL, input="Hello", conversation=made.id)
    items = [item async for item in client.conversations.items.list(made.id, order="asc", limit=1)]
    assert [item.content[0].text for item in items] == ["Hi", "Hello", ANSWER]  # type: ignore[union-attr]
    added = await client.conversations.items.create(made.id, items=[{"role": "user", "content": "More"}])
    id: Any = added.data[0].id
    assert (await client.conversations.items.retrieve(id, conversation_id=made.id)).id == id  # type: ignore[union-attr]
    await client.conversations.items.delete(id, conversation_id=made.id)
    assert (await client.conversations.update(made.id, metadata={"c": "d"})).metadata == {"c": "d"}
    assert (await client.conversations.retrieve(made.id)).metadata == {"c": "d"}
    assert (await client.conversations.delete(made.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.conversations.retrieve(made.id)


async def test_tokens_are_counted(client: openai.AsyncOpenAI, keeping: Served) -> None:
    counted = await client.responses.input_tokens.count(model=MODEL, input="Hello")
    made = await client.responses.create(model=MODEL, input="Hello")
    assert made.usage is not None
    assert counted.input_tokens == made.usage.input_tokens == len(keeping.engine.requests[-1].prompt)
