"""Work on one batch, from where it is to its end. It can be cut off anywhere and begun again: what is done is in the
store, a line's answer at its number once."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from server.batches.batch import KIND, LINES, Body, counted, is_running, moved
from server.batches.capacity import Capacity
from server.batches.fields import MAX_LINES
from server.batches.inside import post
from server.batches.lines import Line, count_lines, read_lines
from server.batches.output import answered, new_request_id, not_answered, write_files
from server.errors import Unavailable
from server.keys.keyring import Keyring, enter_as
from server.store.files import Files, new_id
from server.store.rows import Placed, Stored
from server.store.store import Store

LOOK_SECONDS = 1.0  # between two looks at whether the batch shall go on
RETRY_SECONDS = 2.0
LONGEST_PAUSE = 60.0
MAX_TRIES = 5  # of a line that is answered "later" although the engine was ready
TOO_MANY = 429
LATER = (503, 529)
NO_KEY = ("invalid_api_key", "the key that made the batch opens this server no more.")
GONE = ("invalid_input_file", "The contents of the input file are gone.")
EXPIRED = ("batch_expired", "the request could not be answered before the completion window was over.")


@dataclass(frozen=True, slots=True)
class Tools:
    """What work on batches needs. `app` answers lines; they and their bodies have up to `max_line` bytes. `keyring`
    knows whom it answers."""

    store: Store
    files: Files
    app: ASGIApp
    capacity: Capacity
    keyring: Keyring
    max_line: int


class Work:
    """On one batch, whose lease this process holds. Raises LeaseLost, Unavailable."""

    def __init__(self, tools: Tools, batch: Stored) -> None:
        self._tools = tools
        self._batch = batch

    @property
    def _status(self) -> str:
        return str(self._batch.body["status"])

    @property
    def _input(self) -> Path:
        return input_path(self._tools.files, self._batch.id)

    async def run(self) -> None:
        if self._status == "validating":
            await self._validate()
        if is_running(self._batch.body):
            await self._finalize(await self._answer_lines())
        if self._status in ("finalizing", "cancelling"):
            await self._finish()

    async def fail(self, code: str, message: str) -> None:
        """Ends it without files."""
        await self._change(lambda body: moved(body, "failed", errors=_errors(code, message)), active=False)
        await self._clear()

    async def _change(self, edit: Callable[[Body], Body], *, active: bool | None = None) -> None:
        batch = self._batch
        self._batch = await self._tools.store.change(KIND, batch.id, batch.owner, edit, active=active, held=True)

    async def _validate(self) -> None:
        try:
            total = await asyncio.to_thread(count_lines, self._input)
        except FileNotFoundError:
            await self.fail(*GONE)
            return
        if not 0 < total <= MAX_LINES:
            what = f"The input file has {total} lines; 1 to {MAX_LINES} are allowed."
            await self.fail("invalid_input_file", what)
            return

        def edit(body: Body) -> Body:
            body["request_counts"]["total"] = total
            return body if body["status"] == "cancelling" else moved(body, "in_progress")

        await self._change(edit)

    async def _answer_lines(self) -> str:
        """Answers what is not answered yet, until all is or something stops it. Returns what the batch will be."""
        if stop := await self._stop():
            return stop
        running = asyncio.ensure_future(self._answer_all())
        stopped = asyncio.ensure_future(self._until_stopped())
        try:
            await asyncio.wait((running, stopped), return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
                return "completed"
            return stopped.result()
        except FileNotFoundError:
            return "failed"
        finally:
            for task in (running, stopped):
                task.cancel()
            await asyncio.gather(running, stopped, return_exceptions=True)

    async def _stop(self) -> str | None:
        """What ends the batch now, if anything."""
        batch = self._batch
        if time.time() >= batch.body["expires_at"]:
            return "expired"
        with contextlib.suppress(Unavailable):
            now = await self._tools.store.get(KIND, batch.id, batch.owner)
            if now.body["status"] == "cancelling":
                return "cancelled"
        return None

    async def _until_stopped(self) -> str:
        while not (stop := await self._stop()):
            await asyncio.sleep(LOOK_SECONDS)
        return stop

    async def _answer_all(self) -> None:
        ahead = asyncio.Semaphore(self._tools.capacity.at_once)
        try:
            async with asyncio.TaskGroup() as group:
                async for line in self._open_lines():
                    if line.error is not None:
                        await self._keep(not_answered(line, *line.error))
                        continue
                    await ahead.acquire()
                    group.create_task(self._answer(line)).add_done_callback(lambda _: ahead.release())
        except ExceptionGroup as several:
            raise several.exceptions[0] from None

    async def _open_lines(self) -> AsyncIterator[Line]:
        """Lines that have no answer yet."""
        batch = self._batch
        done = await self._tools.store.positions(KIND, batch.id, batch.owner, LINES)
        blocks = read_lines(self._input, batch.body["endpoint"], self._tools.max_line)
        while (block := await asyncio.to_thread(next, blocks, None)) is not None:
            for line in block:
                if line.number not in done:
                    yield line

    async def _answer(self, line: Line) -> None:
        """Asks again as long as the key is over its limits, and a few times if the server cannot answer now."""
        id = new_request_id()
        batch, keyring = self._batch, self._tools.keyring
        tries = 0
        while True:
            async with self._tools.capacity.place():
                who = keyring.of(batch.owner)
                if who is None and keyring.closed:
                    await self._keep(not_answered(line, *NO_KEY))
                    return
                enter_as(who)
                answer = await post(self._tools.app, batch.body["endpoint"], line.body, batch.owner, id)
            if answer.status == TOO_MANY:
                await asyncio.sleep(min(answer.retry_after or RETRY_SECONDS, LONGEST_PAUSE))
                continue
            tries += 1
            if answer.status not in LATER or tries == MAX_TRIES:
                break
            await asyncio.sleep(RETRY_SECONDS * tries)
        await self._keep(answered(line, id, answer))

    async def _keep(self, item: Placed) -> None:
        """Waits for the store if it cannot be used: the answer was work."""
        batch = self._batch
        while True:
            try:
                await self._tools.store.place_item(KIND, batch.id, batch.owner, LINES, item)
                return
            except Unavailable:
                await asyncio.sleep(RETRY_SECONDS)

    async def _finalize(self, outcome: str) -> None:
        batch = self._batch
        if outcome == "expired":
            async for line in self._open_lines():
                await self._keep(not_answered(line, *(line.error or EXPIRED)))
        done = await self._tools.store.count_items(KIND, batch.id, batch.owner, LINES)

        def edit(body: Body) -> Body:
            counts = {"total": body["request_counts"]["total"], **counted(done)}
            ids = {name: body.get(name) or new_id() for name in ("_output_file_id", "_error_file_id")}
            errors = _errors(*GONE) if outcome == "failed" else None
            changed = {**body, **ids, "_outcome": outcome, "errors": errors, "request_counts": counts}
            if body["status"] == "cancelling":
                return {**changed, "_outcome": "cancelled"}
            return moved(changed, "finalizing")

        await self._change(edit)

    async def _finish(self) -> None:
        made = await write_files(self._tools.store, self._tools.files, self._batch)
        await self._change(lambda body: moved(body, body["_outcome"], **made), active=False)
        await self._clear()

    async def _clear(self) -> None:
        batch = self._batch
        await self._tools.store.clear_items(KIND, batch.id, batch.owner, LINES)
        await asyncio.to_thread(self._input.unlink, missing_ok=True)


def _errors(code: str, message: str) -> dict[str, Any]:
    return {"object": "list", "data": [{"code": code, "message": message, "param": None, "line": None}]}


def input_path(files: Files, batch_id: str) -> Path:
    """Where a batch's input lies while it runs: a name of its own, so that the file may be deleted meanwhile."""
    return files.path(batch_id)
