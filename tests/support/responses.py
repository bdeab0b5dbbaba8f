"""OpenAI's responses over an application around a FakeEngine: requests, what a stream adds up to, the specification."""

import copy
import functools
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012
from support.messages import events
from support.served import MODEL, Served

SPECIFICATION = Path(__file__).parents[3] / "shared" / "data" / "openai-openapi.yaml"
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}
TIME = {"type": "function", "name": "get-time", "parameters": {"type": "object", "properties": {}}}
LIFECYCLE = ("created", "queued", "in_progress", "completed", "incomplete", "failed")
LISTS = {"response.content_part": "content", "response.reasoning_summary_part": "summary"}
TEXTS = {
    "response.output_text": ("content", "content_index"),
    "response.reasoning_text": ("content", "content_index"),
    "response.reasoning_summary_text": ("summary", "summary_index"),
}


async def ask(served: Served, path: str = "/v1/responses", **fields: Any) -> httpx.Response:
    """Fields override those of a plain request."""
    body = {"input": "Hello", **fields} if path.endswith("tokens") else {"model": MODEL, "input": "Hello", **fields}
    async with served.client() as client:
        return await client.post(path, json=body)


async def answered(served: Served, **fields: Any) -> dict[str, Any]:
    answer = await ask(served, **fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def get(served: Served, path: str, **options: Any) -> httpx.Response:
    async with served.client() as client:
        return await client.get(path, **options)


async def streamed(served: Served, **fields: Any) -> list[dict[str, Any]]:
    answer = await ask(served, stream=True, **fields)
    assert answer.status_code == 200, answer.text
    return events(answer.text)


def gathered(stream: list[dict[str, Any]]) -> dict[str, Any]:
    """The response that a stream ends with, after checking that what it told on the way adds up to it."""
    assert [event["sequence_number"] for event in stream] == list(range(len(stream)))
    items: list[dict[str, Any]] = []
    done = 0
    for event in stream:
        kind, _, step = event["type"].rpartition(".")
        if kind == "response" and step in LIFECYCLE:
            continue
        assert event["output_index"] == len(items) - (step != "added" or kind != "response.output_item")
        if kind == "response.output_item":
            assert done == len(items) - (step == "done"), "one item at a time"
            if step == "added":
                items.append(copy.deepcopy(event["item"]))
            else:
                assert _ended(items[done], event["item"]) == event["item"]
                items[done] = event["item"]
                done += 1
        else:
            assert event["item_id"] == items[-1]["id"]
            _add(items[-1], kind, step, event)
    assert done == len(items)
    response: dict[str, Any] = stream[-1]["response"]
    assert response["output"] == items
    return response


def _ended(told: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    """An item as its pieces add up to it, with what only its end tells."""
    assert told["status"] == "in_progress"
    return {**told, **{name: item[name] for name in ("status", "encrypted_content") if name in item}}


def _add(item: dict[str, Any], kind: str, step: str, event: dict[str, Any]) -> None:
    if kind in LISTS:
        where, index = LISTS[kind], event["summary_index" if LISTS[kind] == "summary" else "content_index"]
        parts = item.setdefault(where, [])
        if step == "added":
            assert index == len(parts)
            parts.append(copy.deepcopy(event["part"]))
        else:
            assert parts[index] == event["part"]
    elif kind == "response.function_call_arguments":
        if step == "delta":
            item["arguments"] += event["delta"]
        else:
            assert (event["name"], event["arguments"]) == (item["name"], item["arguments"])
    else:
        where, name = TEXTS[kind]
        part = item[where][event[name]]
        if step == "delta":
            part["text"] += event["delta"]
            if "logprobs" in event:
                part["logprobs"] += event["logprobs"]
        else:
            assert event["text"] == part["text"]
            assert event.get("logprobs") == part.get("logprobs")


def comparable(response: dict[str, Any]) -> dict[str, Any]:
    """Without what is drawn for each response, or tells the time."""
    items = [{name: value for name, value in item.items() if name != "id"} for item in response["output"]]
    return {**response, "id": None, "created_at": 0, "completed_at": 0, "output": items}


@functools.cache
def schemas() -> dict[str, Any]:
    """The specification's; skips the test without it."""
    if not SPECIFICATION.exists():
        pytest.skip(f"no {SPECIFICATION}")
    import yaml

    found: dict[str, Any] = yaml.load(SPECIFICATION.read_text(), Loader=yaml.CSafeLoader)["components"]["schemas"]
    return found


def _as_json_schema(schema: Any) -> Any:
    """Its `oneOf`s tell their members apart by a discriminator, and it has `nullable`: JSON Schema knows neither."""
    if isinstance(schema, list):
        return [_as_json_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {"anyOf" if name == "oneOf" else name: _as_json_schema(value) for name, value in schema.items()}
    return {"anyOf": [plain, {"type": "null"}]} if schema.get("nullable") is True else plain


@functools.cache
def _registry() -> Any:
    document = {"components": {"schemas": _as_json_schema(schemas())}}
    return Registry().with_resource("urn:openai", DRAFT202012.create_resource(document))


@functools.cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"urn:openai#/components/schemas/{name}"}, registry=_registry())


def check(name: str, value: Any) -> None:
    """Validates a value against a schema of the specification."""
    schemas()
    _validator(name).validate(value)


@functools.cache
def event_schemas() -> dict[str, str]:
    """The type of an event of the stream -> its schema."""
    names = [part["$ref"].rsplit("/", 1)[1] for part in schemas()["ResponseStreamEvent"]["anyOf"]]
    return {schemas()[name]["properties"]["type"]["enum"][0]: name for name in names}


def specified(name: str) -> set[str]:
    """The properties of a schema and of its allOf parents."""
    schema = schemas()[name]
    found = set(schema.get("properties", {}))
    for part in schema.get("allOf", []):
        found |= specified(part["$ref"].rsplit("/", 1)[1]) if "$ref" in part else set(part.get("properties", {}))
    return found
