"""Responses in the background: they need nobody who waits, and what is told of them is told once."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.messages import events, say
from support.responses import (
    TIME,
    WEATHER,
    answered,
    ask,
    check,
    comparable,
    event_schemas,
    gathered,
    get,
    streamed,
)
from support.served import ANSWER, MODEL, HandCall, Served
from support.stores import running

from engine import EngineUnavailable
from server.store.store import Store

pytestmark = pytest.mark.anyio
CALLS = [("get_weather", '{"city": "Zürich"}'), ("get-time", "")]


async def until_over(served: Served, id: str) -> dict[str, Any]:
    for _ in range(2000):
        body: dict[str, Any] = (await get(served, f"/v1/responses/{id}")).json()
        if body["status"] not in ("queued", "in_progress"):
            return body
        await asyncio.sleep(0.005)
    raise AssertionError("waited in vain")


async def until_running(served: Served, number: int = 1) -> None:
    async with asyncio.timeout(20):
        while len(served.engine.requests) < number:
            await asyncio.sleep(0.001)


async def follow(served: Served, id: str, after: int | None = None) -> list[dict[str, Any]]:
    params = {"stream": "true"} if after is None else {"stream": "true", "starting_after": after}
    answer = await get(served, f"/v1/responses/{id}", params=params)
    assert answer.status_code == 200, answer.text
    return events(answer.text) if answer.text else []


def interrupted(served: Served, text: str = ANSWER, tokens: int = 4) -> asyncio.Event:
    """A script that waits in the middle of its text for what is returned."""
    go_on, script = asyncio.Event(), served.say(text)
    served.engine.script = lambda request: [
        *itertools.islice(script(request), tokens),
        go_on,
        *itertools.islice(script(request), tokens, None),
    ]
    return go_on


async def test_it_is_the_same_as_one_that_is_waited_for(keeping: Served) -> None:
    keeping.engine.script = say(keeping, text="Let me see.", calls=CALLS)
    whole = comparable(await answered(keeping, tools=[WEATHER, TIME]))
    queued = await answered(keeping, tools=[WEATHER, TIME], background=True)
    assert (queued["status"], queued["output"]) == ("queued", [])
    over = await until_over(keeping, queued["id"])
    assert comparable(over) == {**whole, "background": True}
    told = gathered(await streamed(keeping, tools=[WEATHER, TIME], background=True))
    assert comparable(told) == {**whole, "background": True}
    assert (await get(keeping, f"/v1/responses/{told['id']}")).json() == told


async def test_its_stream_is_as_specified(keeping: Served) -> None:
    keeping.engine.script = say(keeping, text="Let me see.", calls=CALLS)
    told = await streamed(keeping, tools=[WEATHER, TIME], background=True)
    assert "response.queued" in [event["type"] for event in told]
    for event in told:
        check(event_schemas()[event["type"]], event)
    check("Response", (await get(keeping, f"/v1/responses/{told[0]['response']['id']}")).json())


async def test_each_cursor_gives_the_rest(keeping: Served) -> None:
    told = await streamed(keeping, background=True)
    id = told[0]["response"]["id"]
    for after in (None, *range(len(told) + 2)):
        assert await follow(keeping, id, after) == told[(-1 if after is None else after) + 1 :]


async def test_a_client_that_hangs_up_changes_nothing(keeping: Served) -> None:
    go_on = interrupted(keeping)
    call = HandCall(
        keeping.app,
        {"model": MODEL, "input": "Hello", "background": True, "stream": True},
        path="/v1/responses",
    )
    await call.until(b"output_text.delta")
    call.hang_up()
    await call.task
    seen = events(call.body.decode())
    id = seen[0]["response"]["id"]
    assert (await get(keeping, f"/v1/responses/{id}")).json()["status"] == "in_progress"
    rest = asyncio.ensure_future(follow(keeping, id, seen[-1]["sequence_number"]))
    await asyncio.sleep(0.01)
    go_on.set()
    assert gathered([*seen, *await rest])["output"][0]["content"][0]["text"] == ANSWER
    assert not keeping.engine.cancelled


async def test_cancelling(keeping: Served) -> None:
    interrupted(keeping)
    plain = await answered(keeping, background=True)
    await until_running(keeping)
    reading = asyncio.ensure_future(streamed(keeping, background=True))
    await until_running(keeping, 2)
    await asyncio.sleep(0.05)
    async with keeping.client() as client:
        cancelled = (await client.post(f"/v1/responses/{plain['id']}/cancel")).json()
        assert cancelled["status"] == "cancelled"
        assert (await client.post(f"/v1/responses/{plain['id']}/cancel")).json() == cancelled
        listed = await keeping.app.state.store.list("response", "")
        id = listed.data[0].id
        stopped = (await client.post(f"/v1/responses/{id}/cancel")).json()
    told = await reading
    assert gathered(told) == stopped
    assert told[-1]["type"] == "response.incomplete"
    assert stopped["output"][0]["status"] == "incomplete"
    assert ANSWER.startswith(stopped["output"][0]["content"][0]["text"])
    assert len(keeping.engine.cancelled) == 2
    assert await follow(keeping, id) == told
    done = await answered(keeping_done(keeping), background=True)
    over = await until_over(keeping, done["id"])
    async with keeping.client() as client:
        assert (await client.post(f"/v1/responses/{done['id']}/cancel")).json() == over
        waited = await answered(keeping)
        refused = await client.post(f"/v1/responses/{waited['id']}/cancel")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "response_id")


def keeping_done(served: Served) -> Served:
    served.engine.script = served.say(ANSWER)
    return served


async def test_deleting_ends_the_work_and_its_streams(keeping: Served) -> None:
    interrupted(keeping)
    reading = asyncio.ensure_future(streamed(keeping, background=True))
    await until_running(keeping)
    await asyncio.sleep(0.05)
    id = (await keeping.app.state.store.list("response", "")).data[0].id
    async with keeping.client() as client:
        assert (await client.delete(f"/v1/responses/{id}")).status_code == 200
    told = await reading
    assert (told[-1]["type"], told[-1]["code"]) == ("error", "not_found")
    assert len(keeping.engine.cancelled) == 1
    assert (await get(keeping, f"/v1/responses/{id}")).status_code == 404


async def test_an_engine_that_dies_fails_it(keeping: Served) -> None:
    script = keeping.say(ANSWER)
    keeping.engine.script = lambda request: [*list(script(request))[:4], EngineUnavailable("The engine died.")]
    made = await answered(keeping, background=True)
    over = await until_over(keeping, made["id"])
    assert (over["status"], over["error"]) == ("failed", {"code": "server_error", "message": "The engine died."})
    assert gathered(await streamed(keeping, background=True))["status"] == "failed"
    refused = await ask(keeping, previous_response_id=made["id"])
    assert (refused.status_code, "failed" in refused.json()["error"]["message"]) == (400, True)


async def test_what_is_not_over_cannot_be_continued(keeping: Served) -> None:
    go_on = interrupted(keeping)
    made = await answered(keeping, background=True)
    refused = await ask(keeping, previous_response_id=made["id"])
    assert refused.status_code == 400
    go_on.set()
    await until_over(keeping, made["id"])
    assert (await ask(keeping, previous_response_id=made["id"])).status_code == 200


async def test_only_streams_of_the_background_are_followed(keeping: Served) -> None:
    for fields in ({}, {"background": True}, {"stream": True}):
        answer = await ask(keeping, **fields)
        body = events(answer.text)[-1]["response"] if fields.get("stream") else answer.json()
        refused = await get(keeping, f"/v1/responses/{body['id']}", params={"stream": "true"})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "stream")
    for params in (
        {"stream": "yes"},
        {"starting_after": 3},
        {"stream": "true", "starting_after": -1},
        {"include_obfuscation": "true"},
        {"include[]": "x"},
        {"colour": "red"},
    ):
        assert (await get(keeping, "/v1/responses/resp_x", params=params)).status_code == 400


@asynccontextmanager
async def another(serve: Callable[..., Served], folder: Path) -> AsyncIterator[Served]:
    """A server on the same store, which finds what one that died has left."""
    served = serve(store=f"sqlite:///{folder}/store.db")
    async with running(served):
        yield served


async def die(served: Served) -> None:
    """As SIGKILL: nothing that is under way is written any more. The system lets go of the process's lock."""
    await served.app.state.background.stop()
    await served.app.state.store.close()


@pytest.mark.parametrize("fields", [{}, {"stream": True}], ids=str)
async def test_one_that_said_nothing_is_done_again_after_a_crash(
    serve: Callable[..., Served], tmp_path: Path, fields: dict[str, Any]
) -> None:
    first = serve(store=f"sqlite:///{tmp_path}/store.db")
    before = await answered(first, input="Earlier.")
    conversation = await first_conversation(first)
    interrupted(first, tokens=0)
    asked = [{"previous_response_id": before["id"]}, {"conversation": conversation}]
    bodies = [{"model": MODEL, "input": "Hello", "background": True, "metadata": {"a": "b"}, **one} for one in asked]
    calls = [HandCall(first.app, {**body, **fields}, path="/v1/responses") for body in bodies]
    await until_running(first, 3)
    await asyncio.sleep(0.1)
    ids = [one.id for one in (await first.app.state.store.list("response", "", metadata={"a": "b"})).data]
    for call in calls:
        call.hang_up()
        await call.task
    await die(first)
    async with another(serve, tmp_path) as second:
        for id in ids:
            over = await until_over(second, id)
            assert (over["status"], over["output"][0]["content"][0]["text"]) == ("completed", ANSWER)
            assert over["metadata"] == {"a": "b"}
            if fields:
                assert gathered(await follow(second, id)) == over
        assert sorted(request.prompt for request in second.engine.requests) == sorted(
            request.prompt for request in first.engine.requests[1:]
        )
        page = (await get(second, f"/v1/conversations/{conversation}/items")).json()
        assert [item["role"] for item in page["data"]] == ["assistant", "user", "user"]


async def first_conversation(served: Served) -> str:
    async with served.client() as client:
        made = await client.post("/v1/conversations", json={"items": [{"role": "user", "content": "Hi"}]})
    id: str = made.json()["id"]
    return id


async def test_one_whose_words_were_told_fails_after_a_crash(serve: Callable[..., Served], tmp_path: Path) -> None:
    first = serve(store=f"sqlite:///{tmp_path}/store.db")
    interrupted(first)
    call = HandCall(
        first.app,
        {"model": MODEL, "input": "Hello", "background": True, "stream": True},
        path="/v1/responses",
    )
    await call.until(b"output_text.delta")
    call.hang_up()
    await call.task
    await die(first)
    seen = events(call.body.decode())
    id = seen[0]["response"]["id"]
    async with another(serve, tmp_path) as second:
        over = await until_over(second, id)
        assert (over["status"], over["error"]["code"]) == ("failed", "server_error")
        assert "stopped" in over["error"]["message"]
        told = await follow(second, id)
        assert told[: len(seen)] == seen
        assert [event["sequence_number"] for event in told] == list(range(len(told)))
        assert (told[-1]["type"], told[-1]["response"]) == ("response.failed", over)
        assert not second.engine.requests


async def test_a_server_that_lost_its_lease_writes_no_end(keeping: Served, tmp_path: Path) -> None:
    """As after a pause so long that another server took the response over."""
    go_on = interrupted(keeping)
    made = await answered(keeping, background=True)
    await until_running(keeping)
    await asyncio.sleep(0.05)
    other = Store.of(keeping.settings)
    await other.change("response", made["id"], "", lambda body: None, active=True)
    go_on.set()
    await asyncio.sleep(0.2)
    assert not keeping.engine.running
    assert (await get(keeping, f"/v1/responses/{made['id']}")).json()["status"] == "in_progress"
    await other.close()


async def test_one_that_kills_the_server_each_time_is_given_up(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve(store=f"sqlite:///{tmp_path}/store.db")
    interrupted(served, tokens=0)
    made = await answered(served, background=True)
    await until_running(served)
    for _ in range(2):
        await die(served)
        served = serve(store=f"sqlite:///{tmp_path}/store.db")
        interrupted(served, tokens=0)
        served.app.state.background.start()
        await until_running(served)
    await die(served)
    async with another(serve, tmp_path) as last:
        over = await until_over(last, made["id"])
        assert over["status"] == "failed"
        assert "3 times" in over["error"]["message"]
