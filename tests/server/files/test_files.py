"""/v1/files: what goes in comes out, within bounds, on the disk and not in memory."""

import asyncio
import os
import random
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types import FileObject
from starlette.requests import Request
from support.served import Served
from support.stores import running, sdk

from server.errors import ClientGone
from server.files.fields import REFUSED_PURPOSES
from server.files.upload import read_form
from server.store.files import Files

pytestmark = pytest.mark.anyio
BOUNDARY = "bound"


@pytest.fixture
async def storing(serve: Callable[..., Served], tmp_path: Path) -> AsyncIterator[Served]:
    """An application that stores, with two keys."""
    keys = ("mine", "yours")
    async with running(serve(store=f"sqlite:///{tmp_path}/store.db", max_file_bytes=10**6, api_key=keys)) as served:
        yield served


def contents(tmp_path: Path) -> list[str]:
    """Names in the folder of contents."""
    folder = tmp_path / "store.db.files"
    return sorted(os.listdir(folder)) if folder.exists() else []


def form(*parts: tuple[str, bytes | str], filename: str | None = "in.jsonl") -> bytes:
    """A multipart body; `file` has a file name."""
    body = b""
    for name, value in parts:
        file = f'; filename="{filename}"' if name == "file" and filename is not None else ""
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
        body += (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


async def upload(served: Served, body: Any, **headers: str) -> Any:
    head = {"content-type": f"multipart/form-data; boundary={BOUNDARY}", "authorization": "Bearer mine", **headers}
    async with served.client() as client:
        return await client.post("/v1/files", content=body, headers=head)


async def test_the_sdks_whole_round(storing: Served, tmp_path: Path) -> None:
    data = random.Random(1).randbytes(300_000)
    async with sdk(storing, "mine") as client:
        file = await client.files.create(file=("täglich.jsonl", data), purpose="batch")
        FileObject.model_validate(file.model_dump(), strict=True)
        assert (file.bytes, file.filename, file.purpose) == (len(data), "täglich.jsonl", "batch")
        assert file.expires_at == file.created_at + 30 * 86_400
        assert await client.files.retrieve(file.id) == file
        assert (await client.files.content(file.id)).content == data
        short = await client.files.create(
            file=b"{}", purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
        )
        assert short.expires_at is not None
        assert short.expires_at - short.created_at == 3600
        assert [one.id async for one in client.files.list(limit=1)] == [short.id, file.id]
        assert [one.id async for one in client.files.list(order="asc", purpose="batch")] == [file.id, short.id]
        assert [one async for one in client.files.list(purpose="batch_output")] == []
        deleted = await client.files.delete(file.id)
        assert (deleted.id, deleted.deleted) == (file.id, True)
        for gone in (client.files.retrieve(file.id), client.files.content(file.id), client.files.delete(file.id)):
            with pytest.raises(openai.NotFoundError):
                await gone
    assert contents(tmp_path) == [short.id]


async def test_another_key_sees_nothing(storing: Served) -> None:
    async with sdk(storing, "mine") as mine, sdk(storing, "yours") as yours:
        file = await mine.files.create(file=b"{}", purpose="batch")
        assert [one async for one in yours.files.list()] == []
        said = []
        for id in (file.id, "file-unknown"):
            for call in (yours.files.retrieve, yours.files.content, yours.files.delete):
                with pytest.raises(openai.NotFoundError) as caught:
                    await call(id)
                said.append(str(caught.value).replace(id, "ID"))
        assert len(set(said)) == 1
        assert (await mine.files.retrieve(file.id)).id == file.id


@pytest.mark.parametrize("size", [0, 1, 999_999, 1_000_000, 1_000_001])
@pytest.mark.parametrize("announced", [True, False])
async def test_files_up_to_the_limit(storing: Served, tmp_path: Path, size: int, announced: bool) -> None:
    body = form(("purpose", "batch"), ("file", b"x" * size))

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 70_001):
            yield body[start : start + 70_001]

    answer = await upload(storing, body if announced else pieces())
    if size <= 10**6:
        assert answer.status_code == 200, answer.text
        assert answer.json()["bytes"] == size
        assert contents(tmp_path) == [answer.json()["id"]]
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
        assert answer.headers["connection"] == "close"
        assert contents(tmp_path) == []


async def test_a_large_upload_is_not_held_in_memory(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve(store=f"sqlite:///{tmp_path}/store.db")  # the default limit: 100 MiB
    piece = b"y" * 2**20
    head = form(("purpose", "batch"), ("file", b"")).rsplit(b"\r\n--", 1)[0]

    async def pieces(count: int) -> AsyncIterator[bytes]:
        yield head
        for _ in range(count):
            yield piece
        yield f"\r\n--{BOUNDARY}--\r\n".encode()

    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    async with running(served), served.client(headers=headers) as client:
        tracemalloc.start()
        try:
            kept = await client.post("/v1/files", content=pieces(40))
            refused = await client.post("/v1/files", content=pieces(200))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert (kept.status_code, kept.json()["bytes"]) == (200, 40 * 2**20)
    assert refused.status_code == 413
    assert peak < 16 * 2**20
    assert contents(tmp_path) == [kept.json()["id"]]


@pytest.mark.parametrize("cut", range(0, 700, 67))
async def test_contents_that_look_like_boundaries_in_any_pieces(storing: Served, cut: int) -> None:
    data = (f"\r\n--{BOUNDARY[:-1]}\r\n--\r\r\n\n--{BOUNDARY}x"[:40] * 12).replace(f"\r\n--{BOUNDARY}x", "").encode()
    body = form(("file", data), ("purpose", "batch"))

    async def pieces() -> AsyncIterator[bytes]:
        yield body[:cut]
        for start in range(cut, len(body), cut + 1):
            yield body[start : start + cut + 1]

    answer = await upload(storing, pieces())
    assert answer.status_code == 200, answer.text
    async with sdk(storing, "mine") as client:
        assert (await client.files.content(answer.json()["id"])).content == data


FILE = ("file", "{}")
BATCH = ("purpose", "batch")


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (form(FILE), "purpose", "missing_required_parameter"),
        (form(BATCH), "file", "missing_required_parameter"),
        (form(), "file", "missing_required_parameter"),
        (form(FILE, ("purpose", "anything")), "purpose", "invalid_value"),
        (form(FILE, BATCH, ("other", "x")), "other", "unknown_parameter"),
        (form(FILE, BATCH, BATCH), "purpose", "invalid_value"),
        (form(FILE, FILE, BATCH), "file", "invalid_value"),
        (form(FILE, ("purpose", "b" * 2000)), "purpose", "invalid_value"),
        (form(FILE, BATCH, ("expires_after[anchor]", "now")), "expires_after[anchor]", "invalid_value"),
        (
            form(FILE, BATCH, ("expires_after[anchor]", "created_at"), ("expires_after[seconds]", "1")),
            "expires_after[seconds]",
            "invalid_value",
        ),
        (
            form(FILE, BATCH, ("expires_after[anchor]", "created_at"), ("expires_after[seconds]", "9" * 5000)),
            "expires_after[seconds]",
            "invalid_value",
        ),
        (form(FILE, BATCH)[:-10], None, "invalid_multipart"),
        (b"", None, "invalid_multipart"),
        (b"no multipart", None, "invalid_multipart"),
        (b"x" * 200_000, None, "invalid_multipart"),
    ],
)
async def test_bad_forms(storing: Served, tmp_path: Path, body: bytes, param: str | None, code: str) -> None:
    answer = await upload(storing, body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code), error
    assert contents(tmp_path) == []


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "multipart/form-data; boundary=", "", "ü"])
async def test_other_content_types(storing: Served, kind: str) -> None:
    answer = await upload(storing, form(FILE, BATCH), **{"content-type": kind.encode()})  # type: ignore[arg-type]
    assert answer.status_code == 400
    assert "multipart" in answer.json()["error"]["message"]


@pytest.mark.parametrize("purpose", REFUSED_PURPOSES)
async def test_other_purposes_are_refused_by_name(storing: Served, purpose: str) -> None:
    answer = await upload(storing, form(FILE, ("purpose", purpose)))
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "purpose", "unsupported_parameter")
    assert purpose in error["message"]
    assert REFUSED_PURPOSES[purpose] in error["message"]


@pytest.mark.parametrize(
    ("filename", "shown"),
    [("../../etc/passwd", "passwd"), ("C:\\\\a\\\\b.txt", "b.txt"), ("", "file"), ("n" * 999, "n" * 255)],
)
async def test_names_are_names_only(storing: Served, tmp_path: Path, filename: str, shown: str) -> None:
    answer = await upload(storing, form(FILE, BATCH).replace(b"in.jsonl", filename.encode()))
    assert answer.json()["filename"] == shown
    assert contents(tmp_path) == [answer.json()["id"]]


@pytest.mark.parametrize(
    ("query", "param"),
    [("limit=0", "limit"), ("limit=1e3", "limit"), ("order=up", "order"), ("purpose=x", "purpose"), ("a=b", "a")],
)
async def test_bad_queries(storing: Served, query: str, param: str) -> None:
    async with storing.client(headers={"authorization": "Bearer mine"}) as client:
        answer = await client.get(f"/v1/files?{query}")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
        assert (await client.get("/v1/files?after=file-no")).status_code == 404


async def test_all_files_together_are_bounded(serve: Callable[..., Served], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    async with running(serve(store=url, files_max_bytes=100_000, max_file_bytes=80_000)) as served:
        body = form(("file", b"x" * 60_000), BATCH)
        answers = await asyncio.gather(*(upload(served, body) for _ in range(3)))
        assert sorted(answer.status_code for answer in answers) == [200, 400, 400]
        assert {answer.json().get("error", {}).get("code") for answer in answers} == {None, "files_full"}
        assert len(contents(tmp_path)) == 1


async def test_a_client_that_hangs_up_leaves_nothing(storing: Served, tmp_path: Path) -> None:
    files = Files(storing.app.state.store)
    incoming = files.incoming()
    part = {"type": "http.request", "body": form(FILE, BATCH)[:-5], "more_body": True}
    messages = iter([part, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    kind = f"multipart/form-data; boundary={BOUNDARY}".encode()
    request = Request({"type": "http", "headers": [(b"content-type", kind)]}, receive)
    with pytest.raises(ClientGone):
        await read_form(request, incoming, 100, lambda size: None)
    await incoming.finish()
    assert len(contents(tmp_path)) == 1
    await incoming.close()
    assert contents(tmp_path) == []


async def test_a_disk_that_takes_nothing(serve: Callable[..., Served], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    url = f"sqlite:///{tmp_path}/store.db"
    async with running(serve(store=url, files_folder=tmp_path / "file" / "folder")) as served:
        answer = await upload(served, form(FILE, BATCH))
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
        assert (await served.post()).status_code == 200


async def test_without_a_store(served: Served) -> None:
    async with served.client() as client:
        for method, path in (
            ("POST", "/v1/files"),
            ("GET", "/v1/files"),
            ("GET", "/v1/files/x"),
            ("DELETE", "/v1/files/x"),
        ):
            answer = await client.request(method, path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "store_disabled")


async def test_contents_of_nothing_are_swept(storing: Served, tmp_path: Path) -> None:
    kept = (await upload(storing, form(FILE, BATCH))).json()["id"]
    folder = tmp_path / "store.db.files"
    for name in ("incoming-old", "file-unknown", "batch_unknown"):
        (folder / name).write_text("")
    files = Files(storing.app.state.store)
    await files.sweep_once()
    assert len(contents(tmp_path)) == 4  # they may belong to something that is about to be stored
    await asyncio.sleep(0.05)
    await files.sweep_once(grace_seconds=0.01)
    assert contents(tmp_path) == [kept]


async def test_contents_that_are_gone_are_not_found(storing: Served, tmp_path: Path) -> None:
    kept = (await upload(storing, form(FILE, BATCH))).json()["id"]
    (tmp_path / "store.db.files" / kept).unlink()
    async with sdk(storing, "mine") as client:
        with pytest.raises(openai.NotFoundError):
            await client.files.content(kept)


async def test_files_expire(storing: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = (await upload(storing, form(FILE, BATCH))).json()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 31 * 86_400)
    await storing.app.state.store.clean()
    await Files(storing.app.state.store).sweep_once()
    async with sdk(storing, "mine") as client:
        with pytest.raises(openai.NotFoundError):
            await client.files.retrieve(kept["id"])
    assert contents(tmp_path) == []
