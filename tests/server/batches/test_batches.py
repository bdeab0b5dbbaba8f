"""/v1/batches with OpenAI's SDK: every line is answered once, behind everybody else, whatever happens meanwhile."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types import Batch
from support.postgres import Postgres
from support.served import ANSWER, MODEL, Served, chat
from support.stores import running, sdk

from engine import EngineUnavailable, GenerateRequest
from server.batches import work
from server.keys.key import Key, digest_of
from server.keys.key_file import create_key, revoke_key

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: chat(),
    "/v1/completions": {"model": MODEL, "prompt": "Hello"},
    "/v1/messages": {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 64},
    "/v1/responses": {"model": MODEL, "input": "Hello"},
    "/v1beta/models/alias:generateContent": {"contents": [{"parts": [{"text": "Hello"}]}]},
}


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
async def storing(serve: Callable[..., Served], store: str) -> AsyncIterator[Served]:
    """An application that stores and runs batches, with two keys."""
    async with running(serve(store=store, api_key=("mine", "yours"))) as served:
        yield served


def line(custom_id: str, url: str = CHAT, **fields: Any) -> str:
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": {**BODIES[url], **fields}})


async def begin(client: openai.AsyncOpenAI, lines: Iterable[str], endpoint: str = CHAT, **how: Any) -> Batch:
    file = await client.files.create(file=("in.jsonl", "\n".join(lines).encode()), purpose="batch")
    return await client.batches.create(
        input_file_id=file.id,
        endpoint=endpoint,
        completion_window="24h",
        **how,  # type: ignore[arg-type]
    )


async def until(client: openai.AsyncOpenAI, batch: Batch, *statuses: str) -> Batch:
    """Waits for one of the statuses."""
    async with asyncio.timeout(30):
        while batch.status not in statuses:
            assert batch.request_counts is not None
            counts = batch.request_counts
            assert counts.completed + counts.failed <= counts.total
            await asyncio.sleep(0.02)
            batch = await client.batches.retrieve(batch.id)
    Batch.model_validate(batch.model_dump(), strict=True)
    return batch


async def results(client: openai.AsyncOpenAI, file_id: str | None) -> list[dict[str, Any]]:
    if file_id is None:
        return []
    return [json.loads(one) for one in (await client.files.content(file_id)).text.splitlines()]


async def test_a_whole_batch(storing: Served) -> None:
    async with sdk(storing, "mine") as client:
        batch = await begin(client, [line(f"r{number}") for number in range(30)], metadata={"a": "b"})
        assert (batch.status, batch.metadata) == ("validating", {"a": "b"})
        assert batch.expires_at is not None
        assert batch.expires_at - batch.created_at == 86_400
        batch = await until(client, batch, "completed")
        assert batch.request_counts is not None
        assert batch.request_counts.model_dump() == {"total": 30, "completed": 30, "failed": 0}
        assert batch.error_file_id is None
        out = await results(client, batch.output_file_id)
        assert [one["custom_id"] for one in out] == [f"r{number}" for number in range(30)]
        assert len({one["id"] for one in out}) == 30
        for one in out:
            assert one["error"] is None
            assert one["response"]["status_code"] == 200
            assert one["response"]["request_id"] == one["id"]
            assert one["response"]["body"]["choices"][0]["message"]["content"] == ANSWER
        usages = [one["response"]["body"]["usage"] for one in out]
        assert batch.usage is not None
        assert batch.usage.input_tokens == sum(usage["prompt_tokens"] for usage in usages)
        assert batch.usage.total_tokens == sum(usage["total_tokens"] for usage in usages)
        assert batch.in_progress_at is not None
        assert batch.finalizing_at is not None
        assert batch.completed_at is not None
        assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at
        assert batch.output_file_id is not None
        file = await client.files.retrieve(batch.output_file_id)
        assert (file.purpose, file.filename) == ("batch_output", f"{batch.id}_output.jsonl")
        assert [one.id async for one in client.batches.list()] == [batch.id]


@pytest.mark.parametrize("endpoint", BODIES)
async def test_every_protocol_is_an_endpoint(storing: Served, endpoint: str) -> None:
    async with storing.client(headers={"authorization": "Bearer mine"}) as plain, sdk(storing, "mine") as client:
        direct = await plain.post(endpoint, json=BODIES[endpoint])
        other = CHAT if endpoint != CHAT else "/v1/completions"
        if direct.status_code == 404:
            pytest.skip(f"there is no {endpoint}")
        try:
            batch = await begin(client, [line("one", endpoint), line("two", other)], endpoint)
        except openai.BadRequestError:
            pytest.fail("the server has it, batches have not")
        batch = await until(client, batch, "completed")
        (one,) = await results(client, batch.output_file_id)
        assert one["response"]["status_code"] == direct.status_code
        assert set(one["response"]["body"]) == set(direct.json())
        (two,) = await results(client, batch.error_file_id)
        assert (two["custom_id"], two["error"]["code"]) == ("two", "mismatched_endpoint")


async def test_bad_lines_do_not_stop_a_batch(storing: Served) -> None:
    lines = [
        line("good"),
        "{not json",
        line("good"),
        line("model", model="gpt-5"),
        line("field", temperature=9),
        line("elsewhere", "/v1/completions"),
        line("streamed", stream=True),
        "",
        line("last"),
    ]
    async with sdk(storing, "mine") as client:
        batch = await until(client, await begin(client, lines), "completed")
        assert batch.request_counts is not None
        assert batch.request_counts.model_dump() == {"total": 8, "completed": 2, "failed": 6}
        assert [one["custom_id"] for one in await results(client, batch.output_file_id)] == ["good", "last"]
        wrong = await results(client, batch.error_file_id)
    assert [
        (
            one["custom_id"],
            one["error"]["code"] if one["error"] else one["response"]["status_code"],
            one["error"]["message"].split(":")[0] if one["error"] else one["response"]["body"]["error"]["param"],
        )
        for one in wrong
    ] == [
        (None, "invalid_json_line", "Line 2"),
        ("good", "duplicate_custom_id", "Line 3"),
        ("model", 404, "model"),
        ("field", 400, "temperature"),
        ("elsewhere", "mismatched_endpoint", "Line 6"),
        ("streamed", "unsupported_parameter", "Line 7"),
    ]


@pytest.mark.parametrize("text", ["", "\n \n"])
async def test_a_file_without_lines_fails(storing: Served, text: str) -> None:
    async with sdk(storing, "mine") as client:
        batch = await until(client, await begin(client, [text]), "failed")
        assert batch.errors is not None
        assert batch.errors.data is not None
        assert [one.code for one in batch.errors.data] == ["invalid_input_file"]
        assert batch.failed_at is not None


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"input_file_id": "file-none"}, "input_file_id"),
        ({"endpoint": "/v1/embeddings"}, "endpoint"),
        ({"endpoint": "/v1/chat/completions/"}, "endpoint"),
        ({"endpoint": "/v1/chat/completions?x=1"}, "endpoint"),
        ({"endpoint": "/v1/batches"}, "endpoint"),
        ({"endpoint": "/tokenize"}, "endpoint"),
        ({"endpoint": None}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after.seconds"),
        ({"model": "x"}, "model"),
    ],
)
async def test_bad_requests(storing: Served, changes: dict[str, Any], param: str) -> None:
    async with storing.client(headers={"authorization": "Bearer mine"}) as plain, sdk(storing, "mine") as client:
        file = await client.files.create(file=line("a").encode(), purpose="batch")
        body = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h", **changes}
        answer = await plain.post("/v1/batches", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
        assert [one async for one in client.batches.list()] == []


async def test_another_key_sees_nothing(storing: Served) -> None:
    async with sdk(storing, "mine") as mine, sdk(storing, "yours") as yours:
        batch = await begin(mine, [line("a")])
        said = []
        for id in (batch.id, "batch_unknown"):
            for call in (yours.batches.retrieve, yours.batches.cancel):
                with pytest.raises(openai.NotFoundError) as caught:
                    await call(id)
                said.append(str(caught.value).replace(id, "ID"))
        assert len(set(said)) == 1
        assert [one async for one in yours.batches.list()] == []
        for id in (batch.input_file_id, "file-unknown"):
            with pytest.raises(openai.BadRequestError, match="There is no file"):
                await yours.batches.create(input_file_id=id, endpoint=CHAT, completion_window="24h")  # type: ignore[arg-type]
        done = await until(mine, batch, "completed")
        output = str(done.output_file_id)
        with pytest.raises(openai.BadRequestError, match="batch_output"):
            await mine.batches.create(input_file_id=output, endpoint=CHAT, completion_window="24h")  # type: ignore[arg-type]
        with pytest.raises(openai.NotFoundError):
            await yours.files.content(output)


async def test_cancel(storing: Served) -> None:
    never = asyncio.Event()
    storing.engine.script = lambda request: [never] if len(storing.engine.requests) > 5 else storing.say("ok")(request)
    async with sdk(storing, "mine") as client:
        batch = await begin(client, [line(f"r{number}") for number in range(40)])
        while len(storing.engine.requests) < 6 or not storing.engine.running:
            await asyncio.sleep(0.01)
        cancelling = await client.batches.cancel(batch.id)
        assert cancelling.status == "cancelling"
        batch = await until(client, batch, "cancelled")
        assert not storing.engine.running
        assert batch.cancelled_at is not None
        assert batch.request_counts is not None
        out = await results(client, batch.output_file_id)
        assert len(out) == batch.request_counts.completed == 5
        for id in (batch.id,):
            with pytest.raises(openai.BadRequestError, match="cancelled"):
                await client.batches.cancel(id)


async def test_expiry(storing: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    never = asyncio.Event()
    storing.engine.script = lambda request: [never] if len(storing.engine.requests) > 2 else storing.say("ok")(request)
    async with sdk(storing, "mine") as client:
        batch = await begin(client, [*(line(f"r{number}") for number in range(5)), "broken"])
        while len(storing.engine.requests) < 5:
            await asyncio.sleep(0.01)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 86_401)
        batch = await until(client, batch, "expired")
        assert batch.request_counts is not None
        assert batch.request_counts.model_dump() == {"total": 6, "completed": 2, "failed": 4}
        out, wrong = [await results(client, id) for id in (batch.output_file_id, batch.error_file_id)]
        assert sorted(one["custom_id"] or "" for one in out + wrong) == ["", "r0", "r1", "r2", "r3", "r4"]
        assert sorted(one["error"]["code"] for one in wrong) == ["batch_expired"] * 3 + ["invalid_json_line"]


async def test_batches_take_what_others_leave(serve: Callable[..., Served], store: str) -> None:
    served = serve(store=store, max_running=4, batch_running=3, max_queue=2)
    most = 0
    go = asyncio.Event()

    def script(request: GenerateRequest) -> Any:
        nonlocal most
        most = max(most, sum(one.startswith("chatcmpl") for one in served.engine.running))
        return [go, *served.say("ok")(request)]

    served.engine.script = script
    async with running(served), sdk(served) as client:
        batch = await begin(client, [line(f"r{number}") for number in range(9)])
        while len(served.engine.requests) < 3:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert len(served.engine.requests) == 3  # batch_running
        everyone = [asyncio.ensure_future(served.post(messages=[{"role": "user", "content": "I"}])) for _ in range(6)]
        while len(served.engine.requests) < 9:  # all that max_running and max_queue allow: the batch takes no place
            await asyncio.sleep(0.01)
        own, others = served.engine.requests[:3], served.engine.requests[3:]
        assert min(one.priority for one in own) > max(one.priority for one in others) + 2000
        go.set()
        assert {(await one).status_code for one in everyone} == {200}
        await until(client, batch, "completed")

        go.clear()
        busy = [asyncio.ensure_future(served.post()) for _ in range(4)]
        while len(served.engine.running) < 4:
            await asyncio.sleep(0.01)
        asked = len(served.engine.requests)
        batch = await begin(client, [line("late")])
        batch = await until(client, batch, "in_progress")
        await asyncio.sleep(0.2)
        assert len(served.engine.requests) == asked  # others run as many as may
        go.set()
        await asyncio.gather(*busy)
        await until(client, batch, "completed")


async def test_lines_wait_for_the_engine(storing: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "RETRY_SECONDS", 0.02)
    storing.engine.status.state = "stalled"
    died = 0

    def script(request: GenerateRequest) -> Any:
        nonlocal died
        died += 1
        return [EngineUnavailable("died")] if died <= 2 else storing.say("ok")(request)

    storing.engine.script = script
    async with sdk(storing, "mine") as client:
        batch = await begin(client, [line("a")])
        batch = await until(client, batch, "in_progress")
        await asyncio.sleep(0.2)
        assert not storing.engine.requests
        storing.engine.status.state = "ready"
        batch = await until(client, batch, "completed")
        assert [one["custom_id"] for one in await results(client, batch.output_file_id)] == ["a"]


async def test_a_line_that_always_kills_the_engine_is_given_up(
    storing: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "RETRY_SECONDS", 0.01)
    storing.engine.script = lambda request: [EngineUnavailable("died")]
    async with sdk(storing, "mine") as client:
        batch = await until(client, await begin(client, [line("a")]), "completed")
        (one,) = await results(client, batch.error_file_id)
    assert one["response"]["status_code"] == 503
    assert len(storing.engine.requests) == work.MAX_TRIES


async def test_lines_count_against_their_key(serve: Callable[..., Served], store: str, tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    key = create_key(file, "ann", concurrent_requests=1, models=(MODEL,))
    served = serve(store=store, key_file=file)
    say, go, most = served.say("ok"), asyncio.Event(), 0

    def script(request: GenerateRequest) -> Any:
        nonlocal most
        most = max(most, len(served.engine.running))
        return [0.05, *say(request)]

    served.engine.script = script
    async with running(served), sdk(served, key) as client:
        lines = [line("a"), line("b"), line("other", model="alias")]
        batch = await until(client, await begin(client, lines), "completed")
        assert [one["custom_id"] for one in await results(client, batch.output_file_id)] == ["a", "b"]
        (other,) = await results(client, batch.error_file_id)
        assert other["response"]["status_code"] == 403
        assert most == 1

        served.engine.script = lambda request: [go, *say(request)]
        batch = await begin(client, [line("begun"), line("later")])
        while not served.engine.running:
            await asyncio.sleep(0.01)
        another = create_key(file, "another")
        revoke_key(file, "ann")
        served.app.state.keyring.reload()
        go.set()
        files = served.app.state.store
        while (await files.get("batch", batch.id, owner_of(key))).active:
            await asyncio.sleep(0.02)
        done = await files.get("batch", batch.id, owner_of(key))
        assert done.body["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
        async with sdk(served, another) as stranger:
            with pytest.raises(openai.NotFoundError):
                await stranger.batches.retrieve(batch.id)


def owner_of(key: str) -> str:
    return Key(name="", digest=digest_of(key.encode())).owner


@pytest.mark.parametrize("stopped_after", [0, 1, 7, 19])
async def test_another_process_goes_on_where_the_first_was(
    serve: Callable[..., Served], store: str, stopped_after: int
) -> None:
    first = serve(store=store)
    never = asyncio.Event()
    say = first.say("ok")
    first.engine.script = lambda request: [never] if len(first.engine.requests) > stopped_after else say(request)
    lines = [line(f"r{number}") for number in range(20)]
    async with running(first), sdk(first) as client:
        batch = await begin(client, lines)
        while len(first.engine.requests) <= stopped_after:
            await asyncio.sleep(0.01)
        await client.files.delete(batch.input_file_id)  # it is not needed any more
    second = serve(store=store)
    async with running(second), sdk(second) as client:
        batch = await until(client, batch, "completed")
        out = await results(client, batch.output_file_id)
    assert [one["custom_id"] for one in out] == [f"r{number}" for number in range(20)]
    assert len(second.engine.requests) == 20 - stopped_after


async def test_replicas_on_postgres(serve: Callable[..., Served], postgres: Postgres, tmp_path: Path) -> None:
    shared = {"store": postgres.emptied(), "files_folder": tmp_path / "files"}
    first, second = serve(**shared), serve(**shared)
    never, say = asyncio.Event(), first.say("ok")
    first.engine.script = lambda request: [never] if len(first.engine.requests) > 9 else say(request)
    async with running(second), sdk(second) as client:
        async with running(first), sdk(first) as to_first:
            batch = await begin(to_first, [*(line(f"r{number}") for number in range(20)), "broken"])
            while len(first.engine.requests) <= 9:
                await asyncio.sleep(0.01)
            assert not second.engine.requests
        batch = await until(client, batch, "completed")
        assert [one["custom_id"] for one in await results(client, batch.output_file_id)] == [
            f"r{number}" for number in range(20)
        ]
        assert len(second.engine.requests) == 11


@pytest.mark.parametrize("step", range(8))
async def test_stopped_while_the_files_are_written(
    serve: Callable[..., Served], store: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first application is cut off at one transaction after the other of those that end a batch."""
    first = serve(store=store)
    count = 0

    def cut(name: str) -> None:
        real = getattr(first.app.state.store, name)

        async def call(*arguments: Any, **how: Any) -> Any:
            nonlocal count
            batch = await first.app.state.store.get("batch", ids[0], "") if ids else None
            if batch and (batch.body["status"] == "finalizing" or batch.body["request_counts"]["completed"]):
                count += 1
                if count > step:
                    await asyncio.Event().wait()
            return await real(*arguments, **how)

        monkeypatch.setattr(first.app.state.store, name, call)

    ids: list[str] = []
    for name in ("change", "put", "items", "clear_items"):
        cut(name)
    async with running(first), sdk(first) as client:
        batch = await begin(client, [line("a"), "broken", line("b")])
        ids.append(batch.id)
        async with asyncio.timeout(20):
            while count <= step:
                status = (await client.batches.retrieve(batch.id)).status
                if status == "completed":
                    break
                await asyncio.sleep(0.02)
    second = serve(store=store)
    async with running(second), sdk(second) as client:
        batch = await until(client, batch, "completed")
        assert [one["custom_id"] for one in await results(client, batch.output_file_id)] == ["a", "b"]
        assert [one["custom_id"] for one in await results(client, batch.error_file_id)] == [None]
        files = [one async for one in client.files.list(purpose="batch_output")]
        assert len(files) == 2  # none doubled
        assert batch.request_counts is not None
        assert batch.request_counts.model_dump() == {"total": 3, "completed": 2, "failed": 1}
    assert not second.engine.requests


async def test_two_processes_share_no_batch(serve: Callable[..., Served], store: str) -> None:
    served = [serve(store=store), serve(store=store)]
    async with running(served[0]), running(served[1]), sdk(served[0]) as client:
        batch = await until(client, await begin(client, [line(f"r{number}") for number in range(10)]), "completed")
        assert len(await results(client, batch.output_file_id)) == 10
    assert sum(len(one.engine.requests) for one in served) == 10


async def test_without_a_store(served: Served) -> None:
    async with served.client() as client:
        body = {"input_file_id": "x", "endpoint": CHAT, "completion_window": "24h"}
        for answer in (
            await client.post("/v1/batches", json=body),
            await client.get("/v1/batches"),
            await client.get("/v1/batches/x"),
            await client.post("/v1/batches/x/cancel"),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "store_disabled")
