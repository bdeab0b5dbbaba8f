"""Objects and their lists, on both databases: against a model in memory, and one by one what they promise."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from server.errors import ApiError, InvalidRequest, NotFound
from server.store.rows import Elsewhere, Item
from server.store.store import Store
from server.store.transactions import LeaseLost

pytestmark = pytest.mark.anyio
MakeStore = Callable[..., Store]
STRANGE = ["plain", "", "a\0b", "ä 世界 🦀", "x" * 300, "' or 1=1 --", "%", "\ud800"]


class Model:
    """What the store should hold: kind, owner, id -> body, items."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], tuple[dict[str, Any], list[Any]]] = {}

    def of(self, kind: str, owner: str) -> list[str]:
        return [id for one_kind, one_owner, id in self.objects if (one_kind, one_owner) == (kind, owner)]


@pytest.mark.parametrize("seed", range(3))
async def test_any_sequence_of_operations(url: str, open_store: MakeStore, seed: int) -> None:
    draw = random.Random(seed)
    store, model = open_store(url), Model()
    for step in range(60):
        kind, owner = draw.choice("ab"), draw.choice(["", "me", "you"])
        known = [*model.objects]
        kind, owner, id = draw.choice(known) if known and draw.random() < 0.8 else (kind, owner, f"id_{step}")
        there = (kind, owner, id) in model.objects
        body = {"step": step, "text": draw.choice(STRANGE[:5])}
        operation = draw.choice(["put", "change", "add", "remove_item", "delete", "foreign"])
        if operation == "put" and not there:
            await store.put(kind, id, owner, body, items={"l": [Item("first", body)]})
            model.objects[kind, owner, id] = (body, [body])
        elif operation == "foreign" and there:
            with pytest.raises(NotFound):
                await store.get(kind, id, owner + "!")
            with pytest.raises(NotFound):
                await store.delete("other", id, owner)
        elif operation in ("change", "add", "remove_item", "delete") and not there:
            with pytest.raises(NotFound):
                await store.change(kind, id, owner, lambda _: {})
        elif operation == "change":
            added = [Item(f"i{step}", body)]
            await store.change(kind, id, owner, lambda old, body=body: {**old, **body}, add={"l": added})
            model.objects[kind, owner, id][0].update(body)
            model.objects[kind, owner, id][1].append(body)
        elif operation == "add":
            await store.add_items(kind, id, owner, "l", [Item("same", body), Item("same", body)])
            model.objects[kind, owner, id][1].extend([body, body])
        elif operation == "remove_item" and model.objects[kind, owner, id][1]:
            page = await store.items(kind, id, owner, "l", limit=1, ascending=False)
            await store.delete_item(kind, id, owner, "l", page.data[0].id)
            model.objects[kind, owner, id][1].pop()
        elif operation == "delete":
            await store.delete(kind, id, owner)
            del model.objects[kind, owner, id]
    for kind in "ab":
        for owner in ("", "me", "you"):
            assert [one.id for one in (await store.list(kind, owner, ascending=True, limit=99)).data] == model.of(
                kind, owner
            )
    sizes = dict.fromkeys("ab", 0)
    for (kind, owner, id), (body, bodies) in model.objects.items():
        assert (await store.get(kind, id, owner)).body == body
        items = (await store.items(kind, id, owner, "l", limit=None)).data
        assert [item.body for item in items] == bodies
        assert [item.position for item in items] == sorted({item.position for item in items})
        sizes[kind] += sum(len(encoded(one)) for one in (body, *bodies))
    for kind, size in sizes.items():
        assert (await store.totals(kind))[1] == size


def encoded(value: Any) -> bytes:
    import msgspec

    return msgspec.json.encode(value)


@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_pages_joined_are_the_whole_list(url: str, open_store: MakeStore, ascending: bool, limit: int) -> None:
    store = open_store(url)
    for number in range(7):
        await store.put("k", f"k{number}", "me", {}, items={"l": [Item(f"i{one}", one) for one in range(number)]})
    await store.put("k", "other", "you", {})
    found, after, more = [], None, True
    while more:
        page = await store.list("k", "me", after=after, limit=limit, ascending=ascending)
        found += [one.id for one in page.data]
        after, more = found[-1], page.has_more
    whole = [f"k{number}" for number in range(7)]
    assert found == (whole if ascending else whole[::-1])
    items, after, more = [], None, True
    while more:
        part = await store.items("k", "k6", "me", "l", after=after, limit=limit, ascending=ascending)
        items += [one.body for one in part.data]
        after, more = f"i{items[-1]}", part.has_more
    assert items == (list(range(6)) if ascending else list(range(6))[::-1])
    between = await store.items("k", "k6", "me", "l", after="i1", before="i4", limit=None)
    assert [one.body for one in between.data] == [2, 3]
    tail = await store.items("k", "k6", "me", "l", after_position=2**70, limit=None)
    assert tail.data == []
    assert [one.body for one in (await store.items("k", "k6", "me", "l", after_position=-5)).data] == list(range(6))
    for wrong in ("other", "no"):
        with pytest.raises(NotFound):
            await store.list("k", "me", after=wrong)


async def test_metadata_and_models_find(url: str, open_store: MakeStore) -> None:
    store = open_store(url)
    for text in STRANGE[:5]:
        await store.put("k", f"k{text[:5]!r}", "me", {}, model="m", metadata={text: text, "both": "1"})
    await store.put("k", "last", "me", {}, model="a\0b".replace("\0", ""), metadata={})
    for text in STRANGE[:5]:
        assert [one.id for one in (await store.list("k", "me", metadata={text: text})).data] == [f"k{text[:5]!r}"]
        assert (await store.list("k", "me", metadata={text: "no"})).data == []
    assert len((await store.list("k", "me", metadata={"both": "1"}, model="m")).data) == 5
    assert (await store.list("k", "me", metadata={"both": "1"}, model="no")).data == []
    await store.change("k", "k''", "me", lambda _: None, metadata={"new": "x"})
    assert [one.id for one in (await store.list("k", "me", metadata={"new": "x"})).data] == ["k''"]
    assert (await store.list("k", "me", metadata={"": ""})).data == []


@pytest.mark.parametrize("text", STRANGE)
async def test_strange_ids_are_not_found(url: str, open_store: MakeStore, text: str) -> None:
    store = open_store(url)
    await store.put("k", "k1", "me", {"a": 1})
    with pytest.raises(NotFound):
        await store.get("k", text, "me")
    with pytest.raises(NotFound):
        await store.item("k", "k1", "me", "l", text)
    assert (await store.list("k", "me", model=text)).data == ([await store.get("k", "k1", "me")] if not text else [])


async def test_an_error_in_an_edit_undoes_all(url: str, open_store: MakeStore) -> None:
    store = open_store(url)
    await store.put("k", "k1", "me", {"a": 1})

    def refuse(body: dict[str, Any]) -> dict[str, Any]:
        body["a"] = 2
        raise InvalidRequest("no")

    with pytest.raises(InvalidRequest):
        await store.change("k", "k1", "me", refuse, add={"l": [Item("i", 1)]})
    with pytest.raises(NotFound):
        await store.change("k", "k1", "me", lambda _: {}, elsewhere=[Elsewhere("k", "k2", "l", [Item("i", 1)])])
    await store.put("k", "k2", "you", {})
    with pytest.raises(NotFound):  # another's
        await store.put("k", "k3", "me", {}, elsewhere=[Elsewhere("k", "k2", "l", [Item("i", 1)])])
    assert (await store.get("k", "k1", "me")).body == {"a": 1}
    assert (await store.items("k", "k1", "me", "l")).data == []
    assert (await store.list("k", "me")).data == [await store.get("k", "k1", "me")]


async def test_items_for_another_object_come_with_the_change(url: str, open_store: MakeStore) -> None:
    store = open_store(url)
    await store.put("c", "c1", "me", {})
    await store.put("k", "k1", "me", {}, elsewhere=[Elsewhere("c", "c1", "l", [Item("a", 1)])])
    await store.change("k", "k1", "me", lambda _: None, elsewhere=[Elsewhere("c", "c1", "l", [Item("b", 2)])])
    assert [item.body for item in (await store.items("c", "c1", "me", "l")).data] == [1, 2]


async def test_appended_at_the_same_time_all_is_there_once(url: str, open_store: MakeStore) -> None:
    stores = [open_store(url), open_store(url)]  # two processes on one database
    await stores[0].put("k", "k1", "me", {"n": 0})
    await asyncio.gather(
        *(stores[n % 2].add_items("k", "k1", "me", "l", [Item(f"{n}", n), Item(f"{n}b", n)]) for n in range(10)),
        *(stores[n % 2].change("k", "k1", "me", lambda body: {"n": body["n"] + 1}) for n in range(10)),
    )
    items = (await stores[0].items("k", "k1", "me", "l", limit=None)).data
    assert [item.position for item in items] == list(range(20))
    assert sorted(item.body for item in items) == sorted([*range(10)] * 2)
    assert all(first.body == second.body for first, second in zip(items[::2], items[1::2], strict=True))
    assert (await stores[1].get("k", "k1", "me")).body == {"n": 10}


async def test_a_place_is_taken_once(url: str, open_store: MakeStore) -> None:
    from server.store.rows import Placed

    store = open_store(url)
    await store.put("k", "k1", "me", {}, active=True)
    assert await store.place_item("k", "k1", "me", "l", Placed(7, "output", 1))
    assert not await store.place_item("k", "k1", "me", "l", Placed(7, "error", 2))
    assert await store.place_item("k", "k1", "me", "l", Placed(3, "error", 3))
    assert await store.positions("k", "k1", "me", "l") == {3, 7}
    assert await store.count_items("k", "k1", "me", "l") == {"output": 1, "error": 1}
    await store.clear_items("k", "k1", "me", "l", held=True)
    assert await store.positions("k", "k1", "me", "l") == set()
    assert (await store.totals("k"))[1] == len(encoded({}))


async def test_work_is_taken_over_from_the_dead_only(url: str, open_store: MakeStore) -> None:
    first, second = open_store(url), open_store(url)
    for number, model in enumerate(["m", "m", "other"]):
        await first.put("k", f"k{number}", "me", {}, model=model, active=True)
    await first.change("k", "k1", "me", lambda _: None, active=False)
    assert await second.take_over("k", ["m"]) == []
    with pytest.raises(LeaseLost):
        await second.add_items("k", "k0", "me", "l", [Item("i", 1)], held=True)
    await first.close()  # as when its process ends
    taken = await second.take_over("k", ["m", "more"])
    assert [one.id for one in taken] == ["k0"]
    assert await second.take_over("k", ["m", "more"]) == []
    for late in (
        first.add_items("k", "k0", "me", "l", [Item("i", 1)], held=True),
        first.change("k", "k0", "me", lambda _: {"late": 1}, held=True),
        first.clear_items("k", "k0", "me", "l", held=True),
    ):
        with pytest.raises(LeaseLost):
            await late
    await second.add_items("k", "k0", "me", "l", [Item("i", 1)], held=True)
    done = await second.change("k", "k0", "me", lambda _: {"done": 1}, active=False, held=True)
    assert (done.active, done.body) == (False, {"done": 1})


async def test_a_lease_that_nobody_renews_runs_out(
    url: str, open_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = open_store(url), open_store(url)
    await first.put("k", "k0", "me", {}, active=True)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 14)
    assert await second.take_over("k", [""]) == []
    monkeypatch.setattr(time, "time", lambda: real() + 16)
    assert [one.id for one in await second.take_over("k", [""])] == ["k0"]


async def test_maintenance_renews_and_cleans(url: str, open_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.store.store.RENEW_SECONDS", 0.01)
    first, second = open_store(url), open_store(url)
    await first.put("k", "k0", "me", {}, active=True)
    await first.put("k", "old", "me", {}, expires_at=1)
    maintenance = asyncio.ensure_future(first.maintain())
    try:
        while await first.existing(["k0", "old", "no"]) != {"k0"}:
            await asyncio.sleep(0.01)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 14)
        await asyncio.sleep(0.2)
        monkeypatch.setattr(time, "time", lambda: real() + 28)
        assert await second.take_over("k", [""]) == []
    finally:
        maintenance.cancel()


async def test_what_is_over_or_too_much_goes(url: str, open_store: MakeStore) -> None:
    store = open_store(url, store_max_objects=5, store_max_bytes=1000, store_days=1)
    await store.put("k", "active", "me", {}, active=True, expires_at=1)
    await store.put("k", "expired", "me", {}, items={"l": [Item("i", 1)]}, metadata={"a": "b"}, expires_at=1)
    await store.put("file", "file", "me", {}, size=10**9)  # bounded elsewhere
    for number in range(6):
        await store.put("k", f"k{number}", "me", {})
    await store.clean()
    assert [one.id for one in (await store.list("k", "me", ascending=True)).data] == ["active", "k2", "k3", "k4", "k5"]
    await store.put("k", "large", "me", {"text": "x" * 985})
    await store.put("k", "new", "me", {})
    await store.clean()
    assert [one.id for one in (await store.list("k", "me", ascending=True)).data] == ["active", "large", "new"]
    assert (await store.list("file", "me")).data


async def test_what_is_used_lives_on(url: str, open_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(url, store_days=1)
    await store.put("k", "used", "me", {})
    await store.put("k", "unused", "me", {})
    await store.put("k", "short", "me", {}, expires_at=int(time.time()) + 50_000)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 49_000)
    await store.add_items("k", "used", "me", "l", [Item("i", 1)])
    await store.add_items("k", "short", "me", "l", [Item("i", 1)])
    monkeypatch.setattr(time, "time", lambda: real() + 90_000)
    await store.clean()
    assert [one.id for one in (await store.list("k", "me")).data] == ["used"]


async def test_without_a_store_everything_is_refused_by_name(open_store: MakeStore) -> None:
    store = open_store("none")
    assert not store.enabled
    for call in (store.check(), store.get("k", "id", "me"), store.put("k", "id", "me", {}), store.list("k", "me")):
        with pytest.raises(ApiError, match="--store none") as caught:
            await call
        assert caught.value.code == "store_disabled"
    assert store.refuse("store").param == "store"
