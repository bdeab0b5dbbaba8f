"""What a batch leaves: a line for each answer, and the two files that these lines go to."""

import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from server.batches.batch import ERROR, KIND, LINES, OUTPUT
from server.batches.inside import Answer
from server.batches.lines import Line
from server.errors import NotFound
from server.store.files import Files
from server.store.rows import Placed, Stored
from server.store.store import Store

PAGE = 200  # lines that are held at a time
PURPOSE = "batch_output"


def answered(line: Line, id: str, answer: Answer) -> Placed:
    """The item for a line that was answered."""
    try:
        body = msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        body = answer.body.decode("utf-8", "replace")
    response = {"status_code": answer.status, "request_id": answer.request_id, "body": body}
    result = {"id": id, "custom_id": line.custom_id, "response": response, "error": None}
    return Placed(line.number, OUTPUT if answer.status < 300 else ERROR, result)


def not_answered(line: Line, code: str, message: str) -> Placed:
    """The item for a line that was not."""
    error = {"code": code, "message": f"Line {line.number}: {message}"}
    return Placed(
        line.number, ERROR, {"id": new_request_id(), "custom_id": line.custom_id, "response": None, "error": error}
    )


def new_request_id() -> str:
    return "batch_req_" + secrets.token_hex(12)


async def write_files(store: Store, files: Files, batch: Stored) -> dict[str, Any]:
    """Writes both files, under the ids that the batch has for them; one that is there already is left as it is.
    Returns what the batch shows of them."""
    usage = _Usage()
    made = {}
    for kind in (OUTPUT, ERROR):
        id = batch.body[f"_{kind}_file_id"]
        count = await _write_file(store, files, batch, kind, id, usage.add)
        made[f"{kind}_file_id"] = id if count else None
    return {**made, "usage": usage.shown()}


async def _write_file(store: Store, files: Files, batch: Stored, kind: str, id: str, see: Callable[[Any], None]) -> int:
    """How many lines the file has."""
    incoming = files.incoming()
    count = 0
    position: int | None = None
    try:
        more = True
        while more:
            page = await store.items(KIND, batch.id, batch.owner, LINES, after_position=position, limit=PAGE)
            for item in page.data:
                position = item.position
                if item.id == kind:
                    count += 1
                    see(item.body)
                    await incoming.write(msgspec.json.encode(item.body) + b"\n")
            more = page.has_more
        if count and not await _is_there(files, id, batch.owner):
            name = f"{batch.id}_{kind}.jsonl"
            seconds = batch.body["_output_seconds"]
            await files.keep(incoming, batch.owner, filename=name, purpose=PURPOSE, seconds=seconds, id=id)
    finally:
        await incoming.close()
    return count


async def _is_there(files: Files, id: str, owner: str) -> bool:
    try:
        await files.get(id, owner)
    except NotFound:
        return False
    return True


class _Usage:
    """The sum of the answers' usage, whichever protocol they are of."""

    def __init__(self) -> None:
        self._input = self._output = self._cached = self._reasoning = 0

    def add(self, result: dict[str, Any]) -> None:
        body = (result["response"] or {}).get("body")
        usage = body.get("usage") or body.get("usageMetadata") if isinstance(body, dict) else None
        if not isinstance(usage, dict):
            return
        self._input += _first(usage, "prompt_tokens", "input_tokens", "promptTokenCount")
        self._output += _first(usage, "completion_tokens", "output_tokens", "candidatesTokenCount")
        self._cached += _first(usage, "cache_read_input_tokens", "cachedContentTokenCount")
        for name in ("prompt_tokens_details", "input_tokens_details"):
            self._cached += _first(usage.get(name) or {}, "cached_tokens")
        for name in ("completion_tokens_details", "output_tokens_details"):
            self._reasoning += _first(usage.get(name) or {}, "reasoning_tokens")

    def shown(self) -> dict[str, Any]:
        return {
            "input_tokens": self._input,
            "input_tokens_details": {"cached_tokens": self._cached},
            "output_tokens": self._output,
            "output_tokens_details": {"reasoning_tokens": self._reasoning},
            "total_tokens": self._input + self._output,
        }


def _first(usage: dict[str, Any], *names: str) -> int:
    return next((int(usage[name]) for name in names if isinstance(usage.get(name), int)), 0)
