"""OpenAI's own SDK against the application, under uvicorn on loopback: it must understand every answer."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import openai
import pytest
import uvicorn
from openai.types.chat import ChatCompletion
from support.served import ANSWER, MODEL, Served

pytestmark = pytest.mark.anyio
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
async def running(serve: Callable[..., Served]) -> AsyncIterator[tuple[Served, openai.AsyncOpenAI]]:
    """The application behind a real server, and the SDK."""
    served = serve(api_key=("sdk-key",))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(served.app, http="httptools", ws="none", log_level="error"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="sdk-key", max_retries=0) as client:
        yield served, client
    server.should_exit = True
    await serving
    listener.close()


async def test_a_whole_answer(running: tuple[Served, openai.AsyncOpenAI]) -> None:
    _, client = running
    answer = await client.chat.completions.create(
        model=MODEL,
        messages=HELLO,  # type: ignore[arg-type]
        logprobs=True,
        top_logprobs=1,
        n=2,
    )
    ChatCompletion.model_validate(answer.model_dump(), strict=True)
    assert [choice.message.content for choice in answer.choices] == [ANSWER, ANSWER]
    assert answer._request_id
    assert answer.choices[0].logprobs is not None
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 0


async def test_a_stream(running: tuple[Served, openai.AsyncOpenAI]) -> None:
    _, client = running
    text, usage = "", None
    stream = await client.chat.completions.create(
        model=MODEL,
        messages=HELLO,  # type: ignore[arg-type]
        stream=True,
        stream_options={"include_usage": True},
    )
    async for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
    assert text == ANSWER
    assert usage is not None


async def test_the_sdks_own_accumulator(running: tuple[Served, openai.AsyncOpenAI]) -> None:
    _, client = running
    async with client.chat.completions.stream(model=MODEL, messages=HELLO, logprobs=True) as stream:  # type: ignore[arg-type]
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == ANSWER
    assert final.choices[0].finish_reason == "stop"


async def test_models(running: tuple[Served, openai.AsyncOpenAI]) -> None:
    _, client = running
    assert [model.id async for model in client.models.list()] == [MODEL, "alias"]
    model = await client.models.retrieve(MODEL)
    assert (model.id, model.object, model.owned_by) == (MODEL, "model", "abruzzi")
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("gpt-5")
    assert caught.value.code == "model_not_found"


async def test_errors_have_their_classes(running: tuple[Served, openai.AsyncOpenAI]) -> None:
    served, client = running
    with pytest.raises(openai.BadRequestError) as bad:
        await client.chat.completions.create(model=MODEL, messages=HELLO, temperature=9)  # type: ignore[arg-type]
    assert (bad.value.param, bad.value.type) == ("temperature", "invalid_request_error")
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="wrong").models.list()
    served.engine.status.state = "stalled"
    with pytest.raises(openai.InternalServerError) as unavailable:
        await client.chat.completions.create(model=MODEL, messages=HELLO)  # type: ignore[arg-type]
    assert unavailable.value.status_code == 503


async def test_an_engine_that_dies_raises_in_the_stream(running: tuple[Served, openai.AsyncOpenAI]) -> None:
    from engine import EngineUnavailable

    served, client = running
    say = served.say("a sentence of many tokens")
    served.engine.script = lambda request: [*list(say(request))[:2], 0.01, EngineUnavailable("died")]
    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)  # type: ignore[arg-type]
    with pytest.raises(openai.APIError, match="died"):
        async for _ in stream:
            pass


@pytest.mark.parametrize("stream", [False, True])
async def test_closing_the_socket_cancels(running: tuple[Served, openai.AsyncOpenAI], stream: bool) -> None:
    served, client = running
    never = asyncio.Event()
    say = served.say("a sentence of many tokens")
    served.engine.script = lambda request: [*list(say(request))[:2], never]

    async def ask() -> None:
        answer = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=stream)  # type: ignore[call-overload]
        async for _ in answer:
            pass

    asking = asyncio.create_task(ask())
    while not served.engine.running:
        await asyncio.sleep(0.001)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    for _ in range(5000):
        if served.engine.cancelled:
            break
        await asyncio.sleep(0.001)
    assert not served.engine.running
    assert len(served.engine.cancelled) == 1


async def test_a_large_body_over_a_socket(running: tuple[Served, openai.AsyncOpenAI]) -> None:
    _, client = running
    big = [{"role": "user", "content": "x" * 10_000_000}]
    with pytest.raises(openai.APIStatusError) as caught:
        await client.chat.completions.create(model=MODEL, messages=big)  # type: ignore[arg-type]
    assert caught.value.status_code == 413
    assert len([model async for model in client.models.list()]) == 2
