"""POST /v1/requests/{id}/cancel."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from support.completions import completion
from support.served import ANSWER, Served, chat, frames

pytestmark = pytest.mark.anyio
KEYS = {"mine": {"authorization": "Bearer mine"}, "other": {"authorization": "Bearer other"}}


@pytest.fixture
async def client(serve: Callable[..., Served]) -> AsyncIterator[tuple[Served, httpx.AsyncClient]]:
    """An application whose answers never end by themselves."""
    served = serve(api_key=tuple(KEYS))
    never, say = asyncio.Event(), served.say("a sentence of many tokens")
    served.engine.script = lambda request: [*list(say(request))[:2], never]
    async with served.client() as http:
        yield served, http


async def running(served: Served, sequences: int) -> None:
    async with asyncio.timeout(10):
        while len(served.engine.running) < sequences:
            await asyncio.sleep(0.001)


async def cancel(http: httpx.AsyncClient, id: str, key: str = "mine") -> httpx.Response:
    return await http.post(f"/v1/requests/{id}/cancel", headers=KEYS[key])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body", "sequences"),
    [
        ("/v1/chat/completions", chat(), 1),
        ("/v1/chat/completions", chat(n=3), 3),
        ("/v1/completions", completion(prompt=["a", "b"], n=2), 4),
        (
            "/v1/messages",
            {"model": "alias", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]},
            1,
        ),
    ],
    ids=["chat", "chat n", "completions", "messages"],
)
async def test_by_the_requests_own_id(
    client: tuple[Served, httpx.AsyncClient], path: str, body: dict[str, Any], sequences: int, stream: bool
) -> None:
    served, http = client
    headers = {**KEYS["mine"], "x-request-id": "my-run:7"}
    asking = asyncio.create_task(http.post(path, json={**body, "stream": stream}, headers=headers))
    await running(served, sequences)
    await asyncio.sleep(0.01)
    answer = await cancel(http, "my-run:7")
    assert answer.json() == {"id": "my-run:7", "object": "request", "status": "cancelled"}
    ended = await asyncio.wait_for(asking, 10)
    assert "cancelled by its id" in ended.text
    assert ended.status_code == (200 if stream else 499)
    assert not served.engine.running
    assert sorted(served.engine.cancelled) == sorted(request.id for request in served.engine.requests)
    assert (await cancel(http, "my-run:7")).status_code == 404
    metrics = (await http.get("/metrics")).text
    assert f'abruzzi_requests_finished_total{{reason="cancelled"}} {sequences}.0' in metrics
    assert "abruzzi_requests_admitted 0.0" in metrics


async def test_a_stream_ends_with_an_error_of_its_own(client: tuple[Served, httpx.AsyncClient]) -> None:
    served, http = client
    headers = {**KEYS["mine"], "x-request-id": "r"}
    asking = asyncio.create_task(http.post("/v1/chat/completions", json=chat(stream=True), headers=headers))
    await running(served, 1)
    await asyncio.sleep(0.01)
    await cancel(http, "r")
    *_, error, done = frames((await asking).text)
    assert error["error"]["code"] == "request_cancelled"
    assert done == "[DONE]"


async def test_by_the_answers_id(client: tuple[Served, httpx.AsyncClient]) -> None:
    served, http = client
    asking = asyncio.create_task(http.post("/v1/chat/completions", json=chat(), headers=KEYS["mine"]))
    await running(served, 1)
    answer_id = next(iter(served.engine.running)).rpartition("-")[0]
    assert answer_id.startswith("chatcmpl-")
    assert (await cancel(http, answer_id)).status_code == 200
    assert (await asking).status_code == 499


async def test_only_by_its_owner_and_with_the_same_words_for_what_is_not_there(
    client: tuple[Served, httpx.AsyncClient],
) -> None:
    served, http = client
    headers = {**KEYS["mine"], "x-request-id": "mine-7"}
    asking = asyncio.create_task(http.post("/v1/chat/completions", json=chat(), headers=headers))
    await running(served, 1)
    foreign, unknown = await cancel(http, "mine-7", "other"), await cancel(http, "none-7", "other")
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.text.replace("mine-7", "none-7") == unknown.text
    assert served.engine.running
    assert (await cancel(http, "mine-7")).status_code == 200
    await asking


async def test_all_that_bear_one_id(client: tuple[Served, httpx.AsyncClient]) -> None:
    """Clients choose it; what they give twice they cancel twice."""
    served, http = client
    headers = {**KEYS["mine"], "x-request-id": "same"}
    asking = [asyncio.create_task(http.post("/v1/chat/completions", json=chat(), headers=headers)) for _ in range(3)]
    await running(served, 3)
    assert (await cancel(http, "same")).status_code == 200
    assert [answer.status_code for answer in await asyncio.gather(*asking)] == [499] * 3


async def test_what_has_ended_is_not_there(client: tuple[Served, httpx.AsyncClient]) -> None:
    served, http = client
    served.engine.script = served.say(ANSWER)
    headers = {**KEYS["mine"], "x-request-id": "done"}
    for stream in (False, True):
        answer = await http.post("/v1/chat/completions", json=chat(stream=stream), headers=headers)
        assert answer.status_code == 200
        assert (await cancel(http, "done")).status_code == 404
