"""Requests to POST /v1/completions, and whole answers put together from streams."""

from typing import Any

import httpx
from support.served import MODEL, Served, frames

LISTS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")


def completion(**fields: Any) -> dict[str, Any]:
    """A request body."""
    return {"model": MODEL, "prompt": "Hello", "max_tokens": 100, **fields}


async def complete(served: Served, **fields: Any) -> httpx.Response:
    async with served.client() as client:
        return await client.post("/v1/completions", json=completion(**fields))


def joined(body: str) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The choices of a stream's chunks put together, and its usage."""
    *chunks, done = frames(body)
    assert done == "[DONE]"
    choices: dict[int, dict[str, Any]] = {}
    usage = None
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for piece in chunk["choices"]:
            empty = {"index": piece["index"], "text": "", "logprobs": None, "finish_reason": None}
            choice = choices.setdefault(piece["index"], empty)
            assert choice["finish_reason"] is None, "a piece behind the last"
            choice["text"] += piece["text"]
            choice["finish_reason"] = piece["finish_reason"]
            if piece["logprobs"] is not None:
                known = choice["logprobs"] or {name: [] for name in LISTS}
                choice["logprobs"] = {name: known[name] + piece["logprobs"][name] for name in LISTS}
    return [choices[index] for index in sorted(choices)], usage
