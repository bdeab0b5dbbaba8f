"""Google's generateContent over an application around a FakeEngine."""

import json
from typing import Any

import httpx
from support.served import MODEL, Served

WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]},
}
TIME = {"name": "get-time", "parametersJsonSchema": {"type": "object", "properties": {}}}
TOOLS = [{"functionDeclarations": [WEATHER, TIME]}]


def body(**fields: Any) -> dict[str, Any]:
    """A request body."""
    return {"contents": [{"parts": [{"text": "Hello"}]}], **fields}


async def ask(served: Served, operation: str = "generateContent", model: str = MODEL, **fields: Any) -> httpx.Response:
    sent = {"generateContentRequest": {"model": f"models/{model}", **body(**fields)}}
    async with served.client() as client:
        url = f"/v1beta/models/{model}:{operation}"
        return await client.post(url, json=sent if operation == "countTokens" else body(**fields))


def objects(answer: httpx.Response) -> list[dict[str, Any]]:
    """The objects of a stream, whichever way they came. Empty lines, which keep it open, are left out."""
    if answer.headers["content-type"].startswith("application/json"):
        found: list[dict[str, Any]] = json.loads(answer.text)
        return found
    assert answer.text.endswith("\n\n")
    frames = [frame for frame in answer.text.replace("\ndata:", "\n\ndata:").split("\n\n") if frame.strip()]
    frames = [frame.strip("\n") for frame in frames]
    assert all(frame.startswith("data: ") and "\n" not in frame for frame in frames)
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]
