"""Responses through the real server, whose model is random; and what is left of them when it is killed."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.serving import Server, is_ready, serving, until

WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}, "days": {"type": "integer", "maximum": 9}},
        "required": ["city"],
    },
}


@contextlib.contextmanager
def keeping(checkpoint: Path, folder: Path, log: str) -> Iterator[Server]:
    flags = ["--served-model-name", "tiny", "--dtype", "float32", "--max-json-string", "16"]
    store = f"sqlite:///{folder}/store.db"
    with serving(checkpoint, folder / log, *flags, "--store", store, ready=False) as server:
        until(lambda: is_ready(server), 90)
        yield server


def ask(server: Server, **fields: Any) -> dict[str, Any]:
    answer = server.post("/v1/responses", {"model": "tiny", "input": "Hello", "max_output_tokens": 400, **fields})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def status(server: Server, id: str) -> str:
    found: str = server.get(f"/v1/responses/{id}").json()["status"]
    return found


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with keeping(tiny_checkpoint, tmp_path_factory.mktemp("responses"), "server.log") as server:
        yield server


def test_calls_are_held_to_their_schema_and_continued(server: Server) -> None:
    first = ask(server, tools=[WEATHER], tool_choice="required", parallel_tool_calls=False, seed=1)
    assert [item["type"] for item in first["output"]] == ["function_call"]
    call = first["output"][0]
    jsonschema.validate(json.loads(call["arguments"]), WEATHER["parameters"])
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    again = ask(server, previous_response_id=first["id"], input=[output], tools=[WEATHER], max_output_tokens=9)
    assert again["usage"]["input_tokens"] > first["usage"]["input_tokens"]
    format = {"type": "json_schema", "name": "x", "schema": WEATHER["parameters"]}
    text = ask(server, text={"format": format}, seed=1)["output"][0]["content"][0]["text"]
    jsonschema.validate(json.loads(text), WEATHER["parameters"])


def kill(server: Server) -> None:
    """SIGKILL, to the server and its engine at once."""
    for pid in (server.process.pid, server.engine_pid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.process.wait(10)


def test_a_killed_server_loses_and_doubles_nothing(tiny_checkpoint: Path, tmp_path: Path) -> None:
    long = {"background": True, "ignore_eos": True, "max_output_tokens": 500, "seed": 1}
    with keeping(tiny_checkpoint, tmp_path, "first.log") as first:
        conversation = first.post("/v1/conversations", {}).json()["id"]
        over = ask(first, conversation=conversation, max_output_tokens=3)
        waiting = [ask(first, conversation=conversation, **long)["id"], ask(first, **long)["id"]]
        url = f"{first.url}/v1/responses"
        body = json.dumps({"model": "tiny", "input": "Hello", "stream": True, **long})
        command = ["curl", "-sN", "-H", "content-type: application/json", "-d", body, url]
        with (tmp_path / "told").open("wb") as told:
            curl = subprocess.Popen(command, stdout=told)
        until(lambda: b"output_text.delta" in (tmp_path / "told").read_bytes())
        kill(first)
        curl.wait(10)
    told_before = [json.loads(line[6:]) for line in (tmp_path / "told").read_text().split("\n") if line[:5] == "data:"]
    with keeping(tiny_checkpoint, tmp_path, "second.log") as second:
        streamed = told_before[0]["response"]["id"]
        until(lambda: status(second, streamed) == "failed")
        after = told_before[-1]["sequence_number"]
        rest = second.get(f"/v1/responses/{streamed}?stream=true&starting_after={after}").text
        assert [line for line in rest.split("\n") if line.startswith("event")][-1] == "event: response.failed"
        for id in waiting:
            until(lambda id=id: status(second, id) not in ("queued", "in_progress"), 90)  # type: ignore[misc]
            assert status(second, id) == "incomplete"
            assert second.get(f"/v1/responses/{id}").json()["usage"]["output_tokens"] == 500
        assert second.get(f"/v1/responses/{over['id']}").json() == over
        items = second.get(f"/v1/conversations/{conversation}/items?order=asc").json()["data"]
        assert [item["role"] for item in items] == ["user", "assistant"] * 2
