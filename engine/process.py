"""The engine process: loads the model, then loops inbox -> step -> outbox until its parent is gone.

    python -m engine.process INBOX OUTBOX     (ZeroMQ addresses; EngineConfig as one line of JSON on standard input)

Standard input stays open for as long as the parent lives: its end is the sign to exit.
"""

import contextlib
import gc
import logging
import os
import signal
import sys
import threading

import msgspec
import zmq

from engine.config import EngineConfig
from engine.core import EngineCore
from engine.errors import ConfigError, RequestRefused
from engine.load import load_core
from engine.messages import (
    Cancel,
    GenerateRequest,
    LoadFailed,
    Loading,
    Ping,
    Planned,
    Ready,
    StepOutput,
    StepReport,
    ToEngine,
)

logger = logging.getLogger(__name__)

# How often a grammar that takes too long is looked for while nothing else happens.
COMPILING_POLL_MS = 200

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ToEngine)


class EngineLoop:
    """Moves messages between the sockets and the core. One message a step goes out, for all requests.

    Where the core starts steps ahead, the report of a step goes out, and messages are read, while the next step is
    computed.

        device           | step 2                           | step 3
        this process     commit 1, report 1, plan 3, read   | commit 2, report 2, plan 4, read
    """

    def __init__(self, core: EngineCore, inbox: "zmq.Socket[bytes]", outbox: "zmq.Socket[bytes]") -> None:
        self._core = core
        self._unsent: StepReport | None = None
        self._read: list[ToEngine] = []  # while the device computed
        self._inbox = inbox
        self._outbox = outbox
        # a compiled grammar ends the wait for messages, by a byte through a pipe
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)
        self._poller = zmq.Poller()
        self._poller.register(inbox, zmq.POLLIN)
        self._poller.register(self._woken, zmq.POLLIN)
        core.on_compiled(self._compiled)

    def run(self) -> None:
        while True:
            self.turn()

    def turn(self) -> None:
        """Takes in what has come (waiting for it if there is nothing else to do), then makes one step. Whatever came,
        a report goes out; also now and then while grammars are compiled, to say that all is well."""
        if not self._core.has_work and not self._read:
            self._poller.poll(COMPILING_POLL_MS if self._core.compiling else None)
        with contextlib.suppress(BlockingIOError):
            while os.read(self._woken, 4096):
                pass
        self._receive()
        read, self._read = self._read, []
        for message in read:
            self._take(message)
        if not self._core.has_work:
            self._send_unsent()
            self._send(self._core.report([]))
        elif not self._core.ahead:
            self._send(self._core.step())
        else:
            self._step_in_overlap()

    def _step_in_overlap(self) -> None:
        report = self._core.step(self._meanwhile)
        self._send_unsent()  # where nothing was computed, or it failed
        self._unsent = report
        if self._core.computing or not self._core.has_work:
            self._send_unsent()

    def _meanwhile(self) -> None:
        self._send_unsent()
        self._receive()

    def _send_unsent(self) -> None:
        unsent, self._unsent = self._unsent, None
        if unsent is not None:
            self._send(unsent)

    def _receive(self) -> None:
        """Reads what has come; the core is not told before its step is over."""
        with contextlib.suppress(zmq.Again):
            while True:
                self._read.append(_decoder.decode(self._inbox.recv(zmq.NOBLOCK)))

    def _compiled(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: the loop will wake anyway
            os.write(self._wake, b".")

    def _take(self, message: GenerateRequest | Cancel | Ping) -> None:
        match message:
            case GenerateRequest():
                try:
                    self._core.add(message)
                except RequestRefused as refused:
                    self._send_unsent()
                    output = StepOutput(message.id, [], error=(refused.code, str(refused)))
                    self._send(self._core.report([output]))
            case Cancel():
                self._core.cancel(message.id)
            case Ping():
                pass  # the turn ends with a report anyway

    def _send(self, report: StepReport) -> None:
        self._outbox.send(_encoder.encode(report))


def exit_with_parent() -> None:
    """Ends this process when standard input ends: an engine without its server would hold its memory for ever."""

    def watch() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def main(inbox_address: str, outbox_address: str) -> int:
    """Runs the engine; returns an exit status if it cannot start."""
    for number in (signal.SIGINT, signal.SIGTERM):  # they may reach the whole group; the server drains first
        signal.signal(number, signal.SIG_IGN)
    config = msgspec.json.decode(sys.stdin.buffer.readline(), type=EngineConfig)
    logging.basicConfig(level=config.log_level.upper(), format="%(levelname)s engine: %(message)s")
    exit_with_parent()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    inbox, outbox = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    for socket, address in ((inbox, inbox_address), (outbox, outbox_address)):
        socket.set_hwm(0)
        socket.connect(address)

    def report(message: Planned | Loading) -> None:
        outbox.send(_encoder.encode(message))

    answer: Ready | LoadFailed
    try:
        core, answer = load_core(config, report)
    except ConfigError as error:
        answer = LoadFailed(str(error))
    except Exception as error:  # torch, Triton and drivers raise what they like
        logger.exception("loading failed")
        answer = LoadFailed(f"loading {config.model_path} failed: {error or type(error).__name__}")
    outbox.send(_encoder.encode(answer))
    if isinstance(answer, LoadFailed):
        context.destroy(linger=5000)  # milliseconds for the last words to get out
        return 2
    # What is loaded stays: keep the garbage collector from walking it in the middle of a step.
    gc.collect()
    gc.freeze()
    outbox.send(_encoder.encode(core.report([])))
    EngineLoop(core, inbox, outbox).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
