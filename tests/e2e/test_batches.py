"""Batches on the real server and the real engine, which are killed in the middle."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx
from support.serving import Server, serving, until

LINES = 42


def lines() -> bytes:
    """Conversations, every third of them with a tool that must be called."""
    weather = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": weather}}]
    written = []
    for number in range(LINES):
        body: dict[str, Any] = {
            "model": "tiny",
            "messages": [{"role": "user", "content": f"Number {number}"}],
            "max_tokens": 32,
        }
        if number % 3 == 0:
            body |= {"tools": tools, "tool_choice": "required", "parallel_tool_calls": False}
        line = {"custom_id": f"r{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        written.append(json.dumps(line))
    written.insert(LINES // 2, "not json")
    return "\n".join(written).encode()


def batch(server: Server, id: str) -> dict[str, Any]:
    answer: dict[str, Any] = server.get(f"/v1/batches/{id}").json()
    return answer


def results(server: Server, file_id: str) -> list[dict[str, Any]]:
    return [json.loads(one) for one in server.get(f"/v1/files/{file_id}/content").text.splitlines()]


def kill(server: Server) -> None:
    """SIGKILL, to the server and to its engine."""
    engine = server.engine_pid()
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    os.kill(engine, signal.SIGKILL)


def test_killed_in_the_middle_nothing_is_lost_or_doubled(tiny_checkpoint: Path, tmp_path: Path) -> None:
    flags = ["--served-model-name", "tiny", "--store", f"sqlite:///{tmp_path}/store.db", "--batch-running", "2"]
    with serving(tiny_checkpoint, tmp_path / "first.log", *flags) as first:
        upload = {"file": ("in.jsonl", lines())}
        file = httpx.post(f"{first.url}/v1/files", data={"purpose": "batch"}, files=upload, timeout=30).json()
        body = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        id = first.post("/v1/batches", body).json()["id"]
        until(lambda: batch(first, id)["request_counts"]["completed"] >= LINES // 4)
        kill(first)
    with serving(tiny_checkpoint, tmp_path / "second.log", *flags) as second:
        before = batch(second, id)
        assert before["status"] == "in_progress"
        assert LINES // 4 <= before["request_counts"]["completed"] < LINES
        until(lambda: batch(second, id)["status"] == "completed", 60)
        done = batch(second, id)
        assert done["request_counts"] == {"total": LINES + 1, "completed": LINES, "failed": 1}
        out, wrong = (results(second, done[f"{kind}_file_id"]) for kind in ("output", "error"))
        assert [one["custom_id"] for one in out] == [f"r{number}" for number in range(LINES)]
        assert [one["error"]["code"] for one in wrong] == ["invalid_json_line"]
        for number, one in enumerate(out):
            message = one["response"]["body"]["choices"][0]["message"]
            if number % 3 == 0:
                (call,) = message["tool_calls"]
                assert json.loads(call["function"]["arguments"])["city"] in ("Oslo", "Rome")
        kept = second.get("/v1/files").json()["data"]
        assert sorted(one["purpose"] for one in kept) == ["batch", "batch_output", "batch_output"]
        # What the first left undone was asked of the second, and nothing else.
        assert second.metric("abruzzi_requests_finished_total") == LINES - before["request_counts"]["completed"]


def test_the_store_outlives_an_orderly_stop(tiny_checkpoint: Path, tmp_path: Path) -> None:
    flags = ["--served-model-name", "tiny", "--store", f"sqlite:///{tmp_path}/store.db", "--api-key", "mine"]
    headers = {"Authorization": "Bearer mine"}
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4, "store": True}
    with serving(tiny_checkpoint, tmp_path / "first.log", *flags) as first:
        first.headers = headers
        made = first.post("/v1/chat/completions", {**body, "metadata": {"a": "b"}}).json()
    assert [file.name for file in tmp_path.glob("store.db*")] == ["store.db"]
    with serving(tiny_checkpoint, tmp_path / "second.log", *flags) as second:
        assert second.get(f"/v1/chat/completions/{made['id']}").status_code == 401
        second.headers = headers
        assert second.get(f"/v1/chat/completions/{made['id']}").json() == {**made, "metadata": {"a": "b"}}
