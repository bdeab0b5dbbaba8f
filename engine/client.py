"""EngineClient: the server's end of the engine. Starts the process, sends requests, hands out their tokens, and
restarts the process when it dies or hangs. Must not import torch.
"""

import asyncio
import contextlib
import logging
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import zmq
import zmq.asyncio

from engine.config import EngineConfig
from engine.errors import ConfigError, EngineUnavailable, RequestCancelled, RequestRefused, StepFailed
from engine.messages import (
    Cancel,
    EngineStats,
    GenerateRequest,
    LoadFailed,
    Loading,
    Ping,
    PlanLine,
    Planned,
    Ready,
    StepOutput,
    StepReport,
)
from engine.supervisor import EngineProcess

logger = logging.getLogger(__name__)

State = Literal["loading", "ready", "stalled", "restarting", "failed", "stopped"]

# A life at least this long (seconds) is a fresh start: the pauses between restarts begin anew.
LONG_LIFE = 60.0
# Seconds before each attempt to start again an engine that keeps dying before it is ready; then it is given up.
RESTART_DELAYS = (0.0, 1.0, 5.0, 15.0, 60.0)


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """How the engine is. `detail` is one line for a person, `progress` that of loading, from 0 to 1."""

    state: State
    detail: str
    progress: float = 1.0


class _Channel:
    """The outputs of one request on their way to whoever iterates over them."""

    __slots__ = ("_error", "_outputs", "_waiter")

    def __init__(self) -> None:
        self._outputs: list[StepOutput] = []
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    def put(self, output: StepOutput) -> None:
        self._outputs.append(output)
        self._wake()

    def fail(self, error: Exception) -> None:
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def get(self) -> StepOutput:
        """The next output; if several are there, all of them as one. An error comes after the outputs before it."""
        if not self._outputs:
            if self._error is None:
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
                self._waiter = None
            if not self._outputs:
                assert self._error is not None
                raise self._error
        outputs, self._outputs = self._outputs, []
        return outputs[0] if len(outputs) == 1 else _merge(outputs)


def _merge(outputs: list[StepOutput]) -> StepOutput:
    """Several steps' outputs of one request as if one step had brought them."""
    first, last = outputs[0], outputs[-1]
    logprobs = [entry for output in outputs for entry in output.logprobs or ()]
    scores = [entry for output in outputs for entry in output.prompt_logprobs or ()]
    return StepOutput(
        first.id,
        [token for output in outputs for token in output.token_ids],
        last.finish_reason,
        last.error,
        logprobs or None,
        first.cached_tokens,
        first.queue_seconds,
        scores or None,
        last.whole,
    )


class EngineClient:
    """One engine process and its supervision. All methods belong to one event loop.

    Every message to the engine is answered by a report sooner or later, and one with nothing to do is asked for a
    report now and then. An engine that owes one for `stall_seconds` counts as stalled; after twice that it is killed
    and started again, like one that died.
    """

    def __init__(self, config: EngineConfig, *, stall_seconds: float = 60.0) -> None:
        self._config = config
        self._stall_seconds = stall_seconds
        self._channels: dict[str, _Channel] = {}
        self._owed: set[str] = set()  # requests whose end the engine has not said yet
        self._observers: list[Callable[[StepReport], None]] = []
        self._status = EngineStatus("loading", "starting", 0.0)
        self._settled = asyncio.Event()  # set once the engine is ready or given up
        self._given_up = asyncio.Event()
        self._planned = asyncio.Event()
        self._plan: list[PlanLine] = []
        self._ready: Ready | None = None
        self._stats = EngineStats()
        self._answered_at = time.monotonic()
        self._asked_at: float | None = None  # since when the engine owes a sign of life
        self._process: EngineProcess | None = None
        self._supervision: asyncio.Task[None] | None = None
        self.restarts = 0

    @property
    def ready(self) -> Ready | None:
        """What the engine said when it was ready first; stays while it restarts."""
        return self._ready

    @property
    def stats(self) -> EngineStats:
        """The engine's state after the last step."""
        return self._stats

    @property
    def pid(self) -> int | None:
        """Process id of the running engine."""
        return self._process.pid if self._process else None

    @property
    def status(self) -> EngineStatus:
        silence = self._silence()
        if self._status.state == "ready" and silence > self._stall_seconds:
            text = f"no sign of progress for {silence:.0f} s, {len(self._owed)} open requests"
            return EngineStatus("stalled", text)
        return self._status

    def observe(self, callback: Callable[[StepReport], None]) -> None:
        """Calls `callback` with every step's report."""
        self._observers.append(callback)

    async def start(self) -> None:
        """Starts the engine process and its supervision; returns at once."""
        self._supervision = asyncio.create_task(self._supervise())

    async def wait_ready(self) -> Ready:
        """Waits until the engine answers. Raises ConfigError if it cannot start."""
        await self._settled.wait()
        if self._ready is None:
            raise ConfigError(self._status.detail)
        return self._ready

    async def wait_given_up(self) -> None:
        """Returns when the engine cannot be started any more; `status` says why."""
        await self._given_up.wait()

    async def stop(self) -> None:
        """Ends the engine process. Requests that are still open fail."""
        if self._supervision is not None:
            self._supervision.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervision
        self._status = EngineStatus("stopped", "the server is shutting down")
        self._fail_all("the server is shutting down")

    async def wait_plan(self) -> list[PlanLine]:
        """The memory plan, as soon as it is known. Waits for ever if the engine fails before."""
        await self._planned.wait()
        return self._plan

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[StepOutput, None]:
        """Yields the request's outputs, the last with its finish reason. Closing the iterator cancels the request.

        Raises EngineUnavailable if there is no engine or it dies midway, RequestRefused if this request cannot run,
        StepFailed if a step of it could not be computed, RequestCancelled after `cancel`.
        """
        process, status = self._process, self.status
        if status.state != "ready" or process is None:
            raise EngineUnavailable(f"the engine is {status.state}: {status.detail}")
        assert request.id not in self._channels, f"request id {request.id} is in use"
        channel = self._open(process, request)
        try:
            ended = False
            while not ended:
                output = await channel.get()
                ended = output.finish_reason is not None or output.error is not None
                if output.error is None:
                    yield output
                elif output.token_ids:  # merged with the steps before the one that failed
                    yield msgspec.structs.replace(output, error=None)
            if output.error is not None:
                raise _error(*output.error)
        finally:
            self._close(process, request.id)

    def cancel(self, request_id: str) -> None:
        """Ends a request for whoever iterates over its outputs, with RequestCancelled. Unknown ids are ignored."""
        channel = self._channels.get(request_id)
        if channel is not None:
            channel.fail(RequestCancelled("the request was cancelled by its id"))

    def _open(self, process: EngineProcess, request: GenerateRequest) -> _Channel:
        """Sends the request; from now on its outputs have somewhere to go. Raises EngineUnavailable."""
        try:
            self._send(process, request)
        except zmq.Again:  # it has died, and nobody has noticed yet
            raise EngineUnavailable("the engine process ended") from None
        self._owed.add(request.id)
        channel = self._channels[request.id] = _Channel()
        return channel

    def _close(self, process: EngineProcess, request_id: str) -> None:
        """Nobody wants the request's outputs any more. Cancels it if it has not ended."""
        del self._channels[request_id]
        if request_id in self._owed:
            self._owed.discard(request_id)
            if process is self._process:
                with contextlib.suppress(zmq.Again):  # a dead process needs no telling
                    self._send(process, Cancel(request_id))

    def _send(self, process: EngineProcess, message: GenerateRequest | Cancel | Ping) -> None:
        process.send(message)
        if self._asked_at is None:
            self._asked_at = time.monotonic()

    # Supervision

    async def _supervise(self) -> None:
        """Keeps an engine running until cancelled, or until it cannot be started."""
        folder = Path(tempfile.mkdtemp(prefix="abruzzi-"))
        context = zmq.asyncio.Context()
        attempt = lives = 0
        try:
            while attempt < len(RESTART_DELAYS):
                await asyncio.sleep(RESTART_DELAYS[attempt])
                started = time.monotonic()
                reason, was_ready = await self._live(context, folder, f"engine{lives}")
                lives += 1
                attempt = 0 if was_ready and time.monotonic() - started > LONG_LIFE else attempt + 1
                if self._ready is None:  # the first start: whoever started it is there to read why it failed
                    self._status = EngineStatus("failed", reason)
                    return
                self.restarts += 1
                self._status = EngineStatus("restarting", "the engine ended and is started again", 0.0)
                logger.error("%s; starting it again", reason)
            self._status = EngineStatus("failed", f"{reason}; given up after {attempt} attempts in a row")
            logger.error("%s", self._status.detail)
        except Exception as error:
            self._status = EngineStatus("failed", f"the supervision of the engine failed: {error}")
            logger.exception("the supervision of the engine failed")
        finally:
            self._settled.set()
            if self._status.state == "failed":
                self._given_up.set()
            context.destroy(linger=0)
            shutil.rmtree(folder, ignore_errors=True)

    async def _live(self, context: zmq.asyncio.Context, folder: Path, name: str) -> tuple[str, bool]:
        """One life of the process. Returns why it ended and whether it had been ready."""
        try:
            process = self._process = await EngineProcess.spawn(self._config, context, folder, name)
        except OSError as error:
            return f"the engine process could not be started: {error}", False
        self._asked_at = None
        reading = asyncio.create_task(self._read(process))
        watching = asyncio.create_task(self._watch_progress())
        ending = asyncio.create_task(process.wait())
        try:
            await asyncio.wait({reading, watching, ending}, return_when=asyncio.FIRST_COMPLETED)
            was_ready = self._status.state == "ready"
            self._process = None
            if was_ready:  # no newcomers from here on
                self._status = EngineStatus("restarting", "the engine process ended", 0.0)
            if ending.done() and not reading.done():
                # its last words, such as why it could not start, may still be in the socket
                await asyncio.wait({reading}, timeout=0.5)
            reason = self._reason(reading, watching, ending)
            self._fail_all(reason)
            return reason, was_ready
        finally:
            self._process = None
            self._stats = EngineStats()
            for task in (reading, watching, ending):
                task.cancel()
            await asyncio.gather(reading, watching, ending, return_exceptions=True)
            await process.kill()

    def _reason(self, reading: asyncio.Task[str], watching: asyncio.Task[None], ending: asyncio.Task[int]) -> str:
        """Why a life ended, by which of its tasks ended."""
        if reading.done():
            error = reading.exception()
            return reading.result() if error is None else f"the engine sent what cannot be read: {error}"
        if watching.done():
            return f"the engine made no progress for {2 * self._stall_seconds:.0f} s"
        ready = "" if self._ready is not None else " before it was ready"
        return f"the engine process ended with status {ending.result()}{ready}"

    async def _read(self, process: EngineProcess) -> str:
        """Takes in messages until the engine says that it cannot start; returns why."""
        while True:
            message = await process.receive()
            if isinstance(message, LoadFailed):
                return message.message
            self._take(message)

    def _take(self, message: StepReport | Planned | Loading | Ready) -> None:
        match message:
            case StepReport():
                self._deliver(message)
            case Loading(phase=phase, done=done):
                state: State = "restarting" if self.restarts else "loading"
                self._status = EngineStatus(state, phase, done)
            case Planned(plan=plan):
                self._plan = plan
                self._planned.set()
            case Ready():
                self._ready = message
                self._status = EngineStatus("ready", "ready")
                self._settled.set()

    def _deliver(self, report: StepReport) -> None:
        self._stats = report.stats
        for output in report.outputs:
            if output.finish_reason is not None or output.error is not None:
                self._owed.discard(output.id)
            channel = self._channels.get(output.id)
            if channel is not None:  # otherwise cancelled a moment ago
                channel.put(output)
        for observer in self._observers:
            observer(report)
        self._answered_at = time.monotonic()
        self._asked_at = self._answered_at if self._owed else None

    def _silence(self) -> float:
        """Seconds for which the engine has owed a sign of life."""
        return 0.0 if self._asked_at is None else time.monotonic() - self._asked_at

    async def _watch_progress(self) -> None:
        """Returns when the engine has been stuck for too long. Asks an idle one for a sign of life."""
        while self._silence() < 2 * self._stall_seconds:
            await asyncio.sleep(min(1.0, self._stall_seconds / 4))
            idle = self._asked_at is None and time.monotonic() - self._answered_at > self._stall_seconds / 2
            if idle and self._process is not None and self._status.state == "ready":
                with contextlib.suppress(zmq.Again):
                    self._send(self._process, Ping())

    def _fail_all(self, reason: str) -> None:
        self._owed.clear()
        for channel in self._channels.values():
            channel.fail(EngineUnavailable(reason))


def _error(code: str, text: str) -> Exception:
    if code == "engine_busy":
        return EngineUnavailable(text)
    return StepFailed(text) if code == "engine_error" else RequestRefused(text, code)
