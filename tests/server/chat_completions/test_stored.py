"""Stored chat completions with OpenAI's SDK: what was answered is what is kept, streamed or not, for its key only."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion
from support.fake_engine import outputs
from support.served import MODEL, HandCall, Served, chat, frames
from support.stores import running, sdk

pytestmark = pytest.mark.anyio
HELLO: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture
async def storing(serve: Callable[..., Served], tmp_path: Path) -> AsyncIterator[Served]:
    """An application that stores, with two keys."""
    async with running(serve(store=f"sqlite:///{tmp_path}/store.db", api_key=("mine", "yours"))) as served:
        yield served


async def test_what_was_answered_is_kept(storing: Served) -> None:
    async with sdk(storing, "mine") as client:
        made = await client.chat.completions.create(
            model=MODEL, messages=HELLO, store=True, metadata={"a": "b"}, n=2, logprobs=True
        )
        kept = await client.chat.completions.retrieve(made.id)
        assert kept.model_dump() == {**made.model_dump(), "metadata": {"a": "b"}}
        ChatCompletion.model_validate(made.model_dump(), strict=True)


async def test_a_stream_is_kept_as_the_whole_answer_would_be(storing: Served) -> None:
    draw = random.Random(3)
    tokens = [draw.randrange(300) for _ in range(40)] + [storing.end]
    storing.engine.script = lambda request: outputs(request, tokens, at_once=3)
    head = {"authorization": "Bearer mine"}
    async with storing.client(headers=head) as client:
        for fields in (
            {},
            {"n": 3},
            {"logprobs": True, "top_logprobs": 2},
            {"stream_options": {"include_usage": True}},
        ):
            asked = {**chat(store=True, metadata={"k": "v"}), **fields}
            chunks = frames((await client.post("/v1/chat/completions", json={**asked, "stream": True})).text)
            asked.pop("stream_options", None)
            whole = (await client.post("/v1/chat/completions", json=asked)).json()
            id = chunks[0]["id"]
            kept = (await client.get(f"/v1/chat/completions/{id}")).json()
            same = {"id": id, "created": chunks[0]["created"], "metadata": {"k": "v"}}
            assert kept == {**whole, **same}
            for index in range(asked.get("n", 1)):
                deltas = [
                    choice["delta"].get("content") or ""
                    for chunk in chunks[:-1]
                    for choice in chunk["choices"]
                    if choice["index"] == index
                ]
                assert "".join(deltas) == kept["choices"][index]["message"]["content"]


async def test_lists_find_by_model_and_metadata(storing: Served) -> None:
    async with sdk(storing, "mine") as client:
        ids = []
        for number in range(5):
            model = MODEL if number % 2 else "alias"
            made = await client.chat.completions.create(
                model=model, messages=HELLO, store=True, metadata={"n": str(number), "all": "ä [x]=&"}
            )
            ids.append(made.id)
        await client.chat.completions.create(model=MODEL, messages=HELLO, metadata={"all": "ä [x]=&"})  # not stored
        assert [one.id async for one in client.chat.completions.list()] == ids
        assert [one.id async for one in client.chat.completions.list(limit=2, order="desc")] == ids[::-1]
        assert [one.id async for one in client.chat.completions.list(model="alias")] == ids[::2]
        assert [one.id async for one in client.chat.completions.list(metadata={"n": "3"})] == [ids[3]]
        assert [one.id async for one in client.chat.completions.list(metadata={"all": "ä [x]=&"}, limit=2)] == ids
        assert [one async for one in client.chat.completions.list(metadata={"all": "ä [x]=&", "n": "9"})] == []
        page = await client.chat.completions.list(limit=3)
        assert page.has_more
        assert [one.id for one in (await page.get_next_page()).data] == ids[3:]


async def test_metadata_can_be_replaced(storing: Served) -> None:
    async with sdk(storing, "mine") as client:
        made = await client.chat.completions.create(model=MODEL, messages=HELLO, store=True, metadata={"a": "b"})
        changed = await client.chat.completions.update(made.id, metadata={"c": "d"})
        assert changed.model_dump() == {**made.model_dump(), "metadata": {"c": "d"}}
        assert [one.id async for one in client.chat.completions.list(metadata={"c": "d"})] == [made.id]
        assert [one async for one in client.chat.completions.list(metadata={"a": "b"})] == []
        gone = await client.chat.completions.update(made.id, metadata=None)
        assert gone.model_dump()["metadata"] == {}
        for wrong in ({"metadata": {"a": 1}}, {"metadata": {str(n): "" for n in range(17)}}, {"other": 1}, {}, []):
            with pytest.raises(openai.BadRequestError):
                await client.post(f"/chat/completions/{made.id}", body=wrong, cast_to=object)


async def test_messages_as_they_were_sent(storing: Served) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    sent: Any = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "Ann"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "done", "tool_call_id": "c1"},
    ]
    async with sdk(storing, "mine") as client:
        made = await client.chat.completions.create(model=MODEL, messages=sent, store=True)
        kept = [
            one.model_dump(exclude_none=True) async for one in client.chat.completions.messages.list(made.id, limit=3)
        ]
        assert [one.pop("id") for one in kept] == [f"{made.id}-{index}" for index in range(4)]
        assert kept == [sent[0], {**sent[1], "content": "ab", "content_parts": sent[1]["content"]}, *_plain(sent[2:])]
        last = [one.id async for one in client.chat.completions.messages.list(made.id, order="desc")]
        assert last[0] == f"{made.id}-3"


def _plain(messages: list[Any]) -> list[Any]:
    return [{name: value for name, value in message.items() if value is not None} for message in messages]


async def test_another_key_sees_nothing_and_deleted_is_gone(storing: Served) -> None:
    async with sdk(storing, "mine") as mine, sdk(storing, "yours") as yours:
        made = await mine.chat.completions.create(model=MODEL, messages=HELLO, store=True)
        assert [one async for one in yours.chat.completions.list()] == []
        for client, id in ((yours, made.id), (yours, "chatcmpl-none"), (mine, "chatcmpl-none")):
            with pytest.raises(openai.NotFoundError):
                await client.chat.completions.retrieve(id)
            with pytest.raises(openai.NotFoundError):
                await client.chat.completions.update(id, metadata={})
            with pytest.raises(openai.NotFoundError):
                await client.chat.completions.delete(id)
            with pytest.raises(openai.NotFoundError):
                await client.chat.completions.messages.list(id)
        deleted = await mine.chat.completions.delete(made.id)
        assert (deleted.id, deleted.deleted, deleted.object) == (made.id, True, "chat.completion.deleted")
        with pytest.raises(openai.NotFoundError):
            await mine.chat.completions.retrieve(made.id)


@pytest.mark.parametrize("fields", [{}, {"store": False}, {"store": None}, {"metadata": {"a": "b"}}])
async def test_nothing_is_stored_unless_asked(storing: Served, tmp_path: Path, fields: dict[str, Any]) -> None:
    async with storing.client(headers={"authorization": "Bearer mine"}) as client:
        for stream in (False, True):
            answer = await client.post("/v1/chat/completions", json=chat(stream=stream, **fields))
            assert answer.status_code == 200
        assert (await client.get("/v1/chat/completions")).json()["data"] == []
    assert await storing.app.state.store.totals("chat_completion") == (0, 0)


async def test_a_cut_answer_is_not_stored(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve(store=f"sqlite:///{tmp_path}/store.db")
    say, never = served.say("text without end"), asyncio.Event()
    served.engine.script = lambda request: [*list(say(request))[:3], never]
    async with running(served):
        call = HandCall(served.app, chat(stream=True, store=True))
        await call.until(b'"delta":{"content":')
        call.hang_up()
        await asyncio.wait_for(call.task, 10)
        served.engine.script = lambda request: [*list(say(request))[:3], RuntimeError("broken")]
        assert (await served.post(store=True)).status_code == 500
        assert await served.app.state.store.totals("chat_completion") == (0, 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_store_that_fails_is_told_and_harms_nothing_else(
    serve: Callable[..., Served], tmp_path: Path, stream: bool
) -> None:
    folder = tmp_path / "folder"
    folder.write_text("a file")
    served = serve(store=f"sqlite:///{folder}/store.db")
    answer = await served.post(store=True, stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
    assert not served.engine.requests  # it is known before anything is generated
    assert (await served.post(stream=stream)).status_code == 200
    folder.unlink()
    answer = await served.post(store=True, stream=stream)
    assert answer.status_code == 200

    say = served.say("some words")

    def script(request: Any) -> Any:
        folder.rename(tmp_path / "away")
        folder.write_text("a file again")
        return say(request)

    served.engine.script = script
    answer = await served.post(store=True, stream=stream)  # the store fails while the answer is made
    if stream:
        last = frames(answer.text)[-2:]
        assert (last[0]["error"]["code"], last[1]) == ("store_unavailable", "[DONE]")
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")


@pytest.mark.parametrize("stream", [False, True])
async def test_without_a_store(served: Served, stream: bool) -> None:
    answer = await served.post(store=True, stream=stream)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "store", "store_disabled")
    assert "--store none" in error["message"]
    assert (await served.post(store=False, metadata={"a": "b"}, stream=stream)).status_code == 200
    async with served.client() as client:
        assert (await client.get("/v1/chat/completions")).status_code == 400


async def test_bad_queries(storing: Served) -> None:
    async with storing.client(headers={"authorization": "Bearer mine"}) as client:
        for query, param in (("limit=101", "limit"), ("metadat[a]=b", "metadat[a]"), ("order=x", "order")):
            answer = await client.get(f"/v1/chat/completions?{query}")
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
        assert json.loads((await client.get("/v1/chat/completions?model=%00&metadata[%00]=%00")).text)["data"] == []
