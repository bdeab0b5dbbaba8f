"""OpenAI's SDK and specification: both must understand every answer."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import openai
import pytest
import uvicorn
from openai.types import Completion
from support.completions import complete
from support.responses import check
from support.served import ANSWER, MODEL, Served, frames

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(serve: Callable[..., Served]) -> AsyncIterator[openai.AsyncOpenAI]:
    served = serve()
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(served.app, http="httptools", ws="none", log_level="error"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client
    server.should_exit = True
    await serving
    listener.close()


async def test_a_whole_answer(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(model=MODEL, prompt=["a", "b"], n=2, logprobs=2, max_tokens=100)
    Completion.model_validate(answer.model_dump(), strict=True)
    assert [choice.text for choice in answer.choices] == [ANSWER] * 4
    assert answer.choices[0].logprobs is not None
    assert answer.usage is not None


async def test_a_stream(client: openai.AsyncOpenAI) -> None:
    texts, usage = ["", ""], None
    stream = await client.completions.create(
        model=MODEL, prompt="a", n=2, max_tokens=100, echo=True, stream=True, stream_options={"include_usage": True}
    )
    async for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == ["a" + ANSWER] * 2
    assert usage is not None


async def test_errors_have_their_classes(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        await client.completions.create(model=MODEL, prompt="a", best_of=3)
    assert bad.value.param == "best_of"
    with pytest.raises(openai.NotFoundError):
        await client.completions.create(model="gpt-5", prompt="a")


async def test_the_specification_admits_answers_and_chunks(served: Served) -> None:
    for fields in ({}, {"logprobs": 3}, {"n": 2, "echo": True}):
        check("CreateCompletionResponse", (await complete(served, **fields)).json())
        for chunk in frames((await complete(served, **fields, stream=True)).text)[:-1]:
            # The specification forgets that all but the last of a choice's chunks have no reason.
            for choice in chunk["choices"]:
                choice["finish_reason"] = choice["finish_reason"] or "stop"
            check("CreateCompletionResponse", chunk)
