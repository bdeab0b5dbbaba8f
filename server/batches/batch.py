"""A batch: its life in the store, and how OpenAI's API shows it.

    validating ─▶ in_progress ─▶ finalizing ─▶ completed, expired, failed
        │  └─────────────┴─▶ cancelling ─▶ cancelled
        └──▶ failed

Its answers lie in the list "lines" of its object, at the number of their line, as "output" or "error", until they are
in files.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from server.batches.schema import CreateBatch
from server.errors import InvalidRequest
from server.store.rows import Stored

KIND = "batch"
LINES = "lines"
OUTPUT, ERROR = "output", "error"
WINDOW_SECONDS = 86_400  # 24h
TIMES = (
    "in_progress_at",
    "expires_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
)

Body = dict[str, Any]


def new(wire: CreateBatch) -> Body:
    """The body of a batch's object. Members that begin with _ are not shown."""
    return {
        "endpoint": wire.endpoint,
        "errors": None,
        "input_file_id": wire.input_file_id,
        "completion_window": wire.completion_window,
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        **dict.fromkeys(TIMES),
        "expires_at": int(time.time()) + WINDOW_SECONDS,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "metadata": wire.metadata,
        "_output_seconds": wire.output_expires_after.seconds if wire.output_expires_after else None,
    }


def shown(batch: Stored, counts: Mapping[str, int] | None = None) -> Body:
    """As OpenAI's API shows it. `counts`: its lines that are done, by what they are."""
    body = {name: value for name, value in batch.body.items() if not name.startswith("_")}
    if counts is not None:
        body["request_counts"] = {"total": body["request_counts"]["total"], **counted(counts)}
    return {"id": batch.id, "object": "batch", "created_at": batch.created_at, "model": batch.model, **body}


def counted(done: Mapping[str, int]) -> dict[str, int]:
    """Part of a batch's request_counts, from how many items of its list have which id."""
    return {"completed": done.get(OUTPUT, 0), "failed": done.get(ERROR, 0)}


def moved(body: Body, status: str, **values: Any) -> Body:
    """The body in another status, from now on."""
    return {**body, "status": status, f"{status}_at": int(time.time()), **values}


def is_running(body: Body) -> bool:
    """Whether its answers are in its list, not in files."""
    return body["status"] in ("validating", "in_progress", "cancelling")


def cancelled(id: str) -> Callable[[Body], Body | None]:
    """An edit of the body that asks for the end. Raises InvalidRequest for what is over."""

    def edit(body: Body) -> Body | None:
        if body["status"] == "cancelling":
            return None
        if not is_running(body):
            text = f"The batch {id!r} is {body['status']} and cannot be cancelled."
            raise InvalidRequest(text, code="batch_not_cancellable")
        return moved(body, "cancelling")

    return edit
