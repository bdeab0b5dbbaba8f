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

import zmq.asyncio

from engine.config import EngineConfig
from engine.errors import ConfigError, EngineUnavailable, RequestRefused, StepFailed
from engine.messages import (
    Cancel,
    EngineStats,
    FromEngine,
    GenerateRequest,
    LoadFailed,
    Loading,
    PlanLine,
    Planned,
    Ready,
    StepOutput,
    StepReport,
)
from engine.supervisor import EngineProcess

logger = logging.getLogger(__name__)

State = Literal["loading", "ready", "stalled", "restarting", "failed", "stopped"]

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
    return StepOutput(
        first.id,
        [token for output in outputs for token in output.token_ids],
        last.finish_reason,
        last.error,
        logprobs or None,
        first.cached_tokens,
        first.queue_seconds,
    )


class EngineClient:
    """One engine process and its supervision. All methods belong to one event loop.

    An engine that makes no progress for `stall_seconds` while requests are open counts as stalled; after twice that
    it is killed and started again, like one that died.
    """

    def __init__(self, config: EngineConfig, *, stall_seconds: float = 60.0) -> None:
        self._config = config
        self._stall_seconds = stall_seconds
        self._channels: dict[str, _Channel] = {}
        self._observers: list[Callable[[StepReport], None]] = []
        self._status = EngineStatus("loading", "starting", 0.0)
        self._settled = asyncio.Event()  # set once the engine is ready or given up
        self._planned = asyncio.Event()
        self._plan: list[PlanLine] = []
        self._ready: Ready | None = None
        self._stats = EngineStats()
        self._progress_at = time.monotonic()
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
            text = f"no progress for {silence:.0f} s with {len(self._channels)} open requests"
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
        StepFailed if a step of it could not be computed.
        """
        process, status = self._process, self.status
        if status.state != "ready" or process is None:
            raise EngineUnavailable(f"the engine is {status.state}: {status.detail}")
        assert request.id not in self._channels, f"request id {request.id} is in use"
        if not self._channels:
            self._progress_at = time.monotonic()
        channel = self._channels[request.id] = _Channel()
        process.send(request)
        ended = False
        try:
            while not ended:
                output = await channel.get()
                ended = output.finish_reason is not None or output.error is not None
                if output.error is not None:
                    raise _error(*output.error)
                yield output
        finally:
            del self._channels[request.id]
            if not ended and process is self._process:
                process.send(Cancel(request.id))

    # Supervision

    async def _supervise(self) -> None:
        """Keeps an engine running until cancelled, or until it cannot be started."""
        folder = Path(tempfile.mkdtemp(prefix="abruzzi-"))
        context = zmq.asyncio.Context()
        attempt = lives = 0
        try:
            while attempt < len(RESTART_DELAYS):
                await asyncio.sleep(RESTART_DELAYS[attempt])
                reason, was_ready = await self._live(context, folder, f"engine{lives}")
                lives += 1
                attempt = 0 if was_ready else attempt + 1
                self._fail_all(reason)
                if self._ready is None and self._status.state != "failed":
                    self._status = EngineStatus("failed", f"{reason} before it was ready")
                if self._status.state == "failed":
                    return
                self.restarts += 1
                self._status = EngineStatus("restarting", reason, 0.0)
                logger.error("%s; starting it again", reason)
            self._status = EngineStatus("failed", f"{self._status.detail}, {attempt} times in a row")
        finally:
            self._settled.set()
            context.destroy(linger=0)
            shutil.rmtree(folder, ignore_errors=True)

    async def _live(self, context: zmq.asyncio.Context, folder: Path, name: str) -> tuple[str, bool]:
        """One life of the process. Returns why it ended and whether it had been ready."""
        process = self._process = await EngineProcess.spawn(self._config, context, folder, name)
        reading = asyncio.create_task(self._read(process))
        watching = asyncio.create_task(self._watch_progress())
        ending = asyncio.create_task(process.wait())
        try:
            await asyncio.wait({reading, watching, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not watching.done() and not reading.done():
                # its last words, such as why it could not start, may still be in the socket
                await asyncio.wait({reading}, timeout=0.5)
            was_ready = self._status.state == "ready"
            if watching.done():
                reason = f"the engine made no progress for {2 * self._stall_seconds:.0f} s"
            elif not reading.done():
                reason = f"the engine process ended with status {ending.result()}"
            elif (error := reading.exception()) is not None:
                reason = f"the engine sent what cannot be read: {error}"
            else:
                reason = self._status.detail  # it said itself why it cannot start
            return reason, was_ready
        finally:
            self._process = None
            for task in (reading, watching, ending):
                task.cancel()
            await asyncio.gather(reading, watching, ending, return_exceptions=True)
            await process.kill()

    async def _read(self, process: EngineProcess) -> None:
        """Takes in messages until the engine says that it cannot start."""
        while self._status.state != "failed":
            self._take(await process.receive())

    def _take(self, message: FromEngine) -> None:
        self._progress_at = time.monotonic()
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
            case LoadFailed():
                self._status = EngineStatus("failed", message.message)

    def _deliver(self, report: StepReport) -> None:
        if report.stats.blocks_total:  # a refusal's report has no stats
            self._stats = report.stats
        for output in report.outputs:
            channel = self._channels.get(output.id)
            if channel is not None:  # otherwise cancelled a moment ago
                channel.put(output)
        for observer in self._observers:
            observer(report)

    def _silence(self) -> float:
        """Seconds without a sign of progress while requests are open."""
        return time.monotonic() - self._progress_at if self._channels else 0.0

    async def _watch_progress(self) -> None:
        """Returns when the engine has been stuck for too long."""
        while self._silence() < 2 * self._stall_seconds:
            await asyncio.sleep(min(1.0, self._stall_seconds / 4))

    def _fail_all(self, reason: str) -> None:
        for channel in self._channels.values():
            channel.fail(EngineUnavailable(reason))


def _error(code: str, text: str) -> Exception:
    return StepFailed(text) if code == "engine_error" else RequestRefused(text, code)
