"""What came before: previous responses, conversations, references; and whose they are."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.messages import prompt_text, say
from support.responses import WEATHER, answered, ask, check, get
from support.served import ANSWER, MODEL, Served
from support.stores import running

from server.store.store import Store

pytestmark = pytest.mark.anyio
CALL = [("get_weather", '{"city": "Zürich"}')]


def store_of(served: Served) -> Store:
    store: Store = served.app.state.store
    return store


async def test_a_chain_is_the_same_as_its_items_sent_at_once(keeping: Served) -> None:
    keeping.engine.script = say(keeping, text="Let me see.", calls=CALL)
    first = await answered(keeping, tools=[WEATHER], instructions="Be short.")
    output = {"type": "function_call_output", "call_id": first["output"][-1]["call_id"], "output": "sunny"}
    keeping.engine.script = keeping.say("Sunny.")
    second = await answered(keeping, input=[output], previous_response_id=first["id"], tools=[WEATHER])
    third = await answered(keeping, input="Thanks.", previous_response_id=second["id"], instructions="Be long.")
    assert third["previous_response_id"] == second["id"]
    told = prompt_text(keeping)
    assert "Be long." in told
    assert "Be short." not in told  # instructions are of one response only
    items = [{"role": "user", "content": "Hello"}, *first["output"], output, *second["output"]]
    await answered(keeping, input=[*items, {"role": "user", "content": "Thanks."}], instructions="Be long.")
    assert keeping.engine.requests[-1].prompt == keeping.engine.requests[-2].prompt


async def test_an_incomplete_response_can_be_continued_without_its_cut_call(keeping: Served) -> None:
    keeping.engine.script = say(keeping, text="Let me see.", calls=CALL)
    before_arguments = len(keeping.model.tokenizer.encode("Let me see.functions.get_weather:0")) + 3
    cut = await answered(keeping, tools=[WEATHER], max_output_tokens=before_arguments + 5)
    assert "Zü" in cut["output"][1]["arguments"]
    assert [item["status"] for item in cut["output"]] == ["completed", "incomplete"]
    await answered(keeping, previous_response_id=cut["id"], input="Go on.")
    assert "Let me see." in prompt_text(keeping)
    assert "Zü" not in prompt_text(keeping)


async def test_references(keeping: Served) -> None:
    first = await answered(keeping)
    items = (await get(keeping, f"/v1/responses/{first['id']}/input_items")).json()["data"]
    named = [{"type": "item_reference", "id": items[0]["id"]}, {"id": first["output"][0]["id"]}]
    second = await answered(keeping, input=[*named, {"role": "user", "content": "More."}])
    listed = (await get(keeping, f"/v1/responses/{second['id']}/input_items", params={"order": "asc"})).json()["data"]
    assert listed[:2] == [items[0], first["output"][0]]
    for wrong in ("msg_x", "msg_" + "0" * 32 + "_0"):
        refused = await ask(keeping, input=[{"id": wrong}])
        assert (refused.status_code, refused.json()["error"]["param"]) == (404, "input[0].id")


async def test_what_is_not_stored_cannot_be_continued(keeping: Served) -> None:
    unstored = await answered(keeping, store=False)
    assert unstored["store"] is False
    assert (await store_of(keeping).totals("response")) == (0, 0)
    for id in (unstored["id"], "resp_x", "x" * 300, "resp_\x00"):
        if len(id) <= 256:
            refused = await ask(keeping, previous_response_id=id)
            assert (refused.status_code, refused.json()["error"]["param"]) == (404, "previous_response_id")
        refused = await ask(keeping, conversation=id[:256])
        assert (refused.status_code, refused.json()["error"]["param"]) == (404, "conversation")
    first = await answered(keeping)
    second = await answered(keeping, previous_response_id=first["id"])
    async with keeping.client() as client:
        assert (await client.delete(f"/v1/responses/{first['id']}")).json() == {
            "id": first["id"],
            "object": "response.deleted",
            "deleted": True,
        }
    refused = await ask(keeping, previous_response_id=second["id"])
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "previous_response_not_found")
    assert first["id"] in refused.json()["error"]["message"]


async def test_a_circle_is_refused(keeping: Served) -> None:
    """No client can make one; whatever made it, nobody waits for ever."""
    made = await answered(keeping)

    def turn(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "response": {**body["response"], "previous_response_id": made["id"]}}

    await store_of(keeping).change("response", made["id"], "", turn)
    refused = await ask(keeping, previous_response_id=made["id"])
    assert refused.status_code == 400
    assert "circle" in refused.json()["error"]["message"]


@pytest.fixture
async def guarded(serve: Callable[..., Served], tmp_path: Path) -> AsyncIterator[Served]:
    served = serve(store=f"sqlite:///{tmp_path}/store.db", api_key=("alice-key", "bob-key"))
    async with running(served):
        yield served


def on_behalf(served: Served, name: str) -> httpx.AsyncClient:
    return served.client(headers={"Authorization": f"Bearer {name}-key"})


async def test_what_is_stored_is_seen_by_its_owner_only(guarded: Served) -> None:
    async with on_behalf(guarded, "alice") as alice, on_behalf(guarded, "bob") as bob:
        body = {"model": MODEL, "input": "Hello"}
        response = (await alice.post("/v1/responses", json=body)).json()
        conversation = (
            await alice.post("/v1/conversations", json={"items": [{"role": "user", "content": "x"}]})
        ).json()
        for path in (
            f"/v1/responses/{response['id']}",
            f"/v1/responses/{response['id']}?stream=true",
            f"/v1/responses/{response['id']}/input_items",
            f"/v1/conversations/{conversation['id']}",
            f"/v1/conversations/{conversation['id']}/items",
        ):
            unknown = path.replace(response["id"], "resp_0").replace(conversation["id"], "conv_0")
            mine, foreign, none = await alice.get(path), await bob.get(path), await bob.get(unknown)
            assert mine.status_code in (200, 400)
            assert foreign.status_code == none.status_code == 404
            told, known = foreign.json()["error"], none.json()["error"]
            for id, other in ((response["id"], "resp_0"), (conversation["id"], "conv_0")):
                told["message"] = told["message"].replace(id, other)
            assert told == known
        for path in (f"/v1/responses/{response['id']}", f"/v1/conversations/{conversation['id']}"):
            assert (await bob.delete(path)).status_code == 404
        assert (await bob.post(f"/v1/responses/{response['id']}/cancel")).status_code == 404
        for fields in (
            {"previous_response_id": response["id"]},
            {"conversation": conversation["id"]},
            {"input": [{"id": response["output"][0]["id"]}]},
        ):
            assert (await bob.post("/v1/responses", json=body | fields)).status_code == 404
            assert (await alice.post("/v1/responses", json=body | fields)).status_code == 200


async def test_input_items_come_in_pages(keeping: Served) -> None:
    texts = [str(number) for number in range(5)]
    made = await answered(keeping, input=[{"role": "user", "content": text} for text in texts])
    path = f"/v1/responses/{made['id']}/input_items"
    for order, expected in (("asc", texts), ("desc", texts[::-1])):
        seen, after = [], {}
        while True:
            page = (await get(keeping, path, params={"limit": 2, "order": order, **after})).json()
            check("ResponseItemList", page)
            seen += [item["content"][0]["text"] for item in page["data"]]
            after = {"after": page["last_id"]}
            if not page["has_more"]:
                break
        assert seen == expected
    for params in ({"limit": 0}, {"limit": "x"}, {"order": "up"}, {"colour": "red"}, {"include[]": "x"}):
        assert (await get(keeping, path, params=params)).status_code == 400
    assert (await get(keeping, path, params={"after": "x"})).status_code == 404


async def test_a_conversation_gets_what_was_said(keeping: Served) -> None:
    async with keeping.client() as client:
        made = (await client.post("/v1/conversations", json={})).json()
        check("ConversationResource", made)
        first = await answered(keeping, conversation={"id": made["id"]})
        second = await answered(keeping, conversation=made["id"], input="More.")
        assert second["conversation"] == {"id": made["id"]}
        assert prompt_text(keeping).count(ANSWER) == 1
        page = (await client.get(f"/v1/conversations/{made['id']}/items", params={"order": "asc"})).json()
        check("ConversationItemList", page)
        assert [item["content"][0]["text"] for item in page["data"]] == ["Hello", ANSWER, "More.", ANSWER]
        # a response in a conversation is continued from where it was, not from where the conversation is now
        await answered(keeping, previous_response_id=first["id"], input="Else.")
        branch = keeping.engine.requests[-1].prompt
        await answered(
            keeping,
            input=[{"role": "user", "content": "Hello"}, *first["output"], {"role": "user", "content": "Else."}],
        )
        assert keeping.engine.requests[-1].prompt == branch
        await client.delete(f"/v1/conversations/{made['id']}")
    refused = await ask(keeping, previous_response_id=second["id"])
    assert refused.status_code == 400
    assert made["id"] in refused.json()["error"]["message"]


async def test_an_answer_that_fails_adds_nothing_to_its_conversation(keeping: Served) -> None:
    from engine import EngineUnavailable

    script = keeping.say(ANSWER)
    keeping.engine.script = lambda request: [*list(script(request))[:4], EngineUnavailable("The engine died.")]
    async with keeping.client() as client:
        made = (await client.post("/v1/conversations", json={})).json()
        path = f"/v1/conversations/{made['id']}"
        assert (await ask(keeping, conversation=made["id"])).status_code == 503
        assert (await ask(keeping, conversation=made["id"], stream=True)).status_code == 200
        assert (await client.get(f"{path}/items")).json()["data"] == []

        def deleted(request: Any) -> Any:
            import asyncio

            gone = asyncio.Event()
            task = asyncio.ensure_future(client.delete(path))
            task.add_done_callback(lambda _: gone.set())
            return [gone, *script(request)]

        keeping.engine.script = deleted
        refused = await ask(keeping, conversation=made["id"])
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "not_found")


async def test_a_conversation_can_be_longer_than_a_prompt(serve: Callable[..., Served], tmp_path: Path) -> None:
    long = serve(store=f"sqlite:///{tmp_path}/store.db", max_messages=60, max_body_bytes=20_000)
    async with running(long), long.client() as client:
        for length, times, words in ((1, 4, "at most 60"), (600, 2, "20000 bytes")):
            items = {"items": [{"role": "user", "content": "x" * length}] * 20}
            made = (await client.post("/v1/conversations", json={})).json()["id"]
            for _ in range(times):
                assert (await client.post(f"/v1/conversations/{made}/items", json=items)).status_code == 200
            refused = await ask(long, conversation=made)
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, "conversation")
            assert words in refused.json()["error"]["message"]


async def test_items_of_a_conversation(keeping: Served) -> None:
    items: list[dict[str, Any]] = [
        {"role": "user", "content": "a"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "id": "fc_mine"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "b"}]},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "c"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "d"}], "phase": "final_answer"},
    ]
    async with keeping.client() as client:
        made = (await client.post("/v1/conversations", json={"items": items[:2], "metadata": {"a": "b"}})).json()
        path = f"/v1/conversations/{made['id']}"
        added = (await client.post(f"{path}/items", json={"items": items[2:]})).json()
        check("ConversationItemList", added)
        every = (await client.get(f"{path}/items?order=asc")).json()["data"]
        assert [item["type"] for item in every] == [item.get("type", "message") for item in items]
        for item in every:
            check("ConversationItem", item)
            assert (await client.get(f"{path}/items/{item['id']}")).json() == item
        again = await client.post(f"{path}/items", json={"items": [items[1]]})
        assert (again.status_code, again.json()["error"]["param"]) == (400, "items[0].id")
        assert (await client.post(f"{path}/items", json={"items": items * 5})).status_code == 400
        assert (await client.post(f"{path}/items", json={"items": []})).status_code == 400
        gone = await client.delete(f"{path}/items/fc_mine")
        assert gone.json() == made
        assert (await client.get(f"{path}/items/fc_mine")).status_code == 404
        assert (await client.post(path, json={})).status_code == 400
        check("DeletedConversationResource", (await client.delete(path)).json())
        for method, where in (("GET", ""), ("POST", "/items"), ("GET", "/items"), ("DELETE", ""), ("GET", "/items/x")):
            answer = await client.request(method, path + where, json={"items": items[:1]} if method == "POST" else None)
            assert answer.status_code == 404
