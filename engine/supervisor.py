"""One life of the engine process: spawn it with its own pair of sockets, talk to it, see it die. No policy."""

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import zmq
import zmq.asyncio

from engine.config import EngineConfig
from engine.messages import FromEngine, ToEngine

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(FromEngine)

# What the engine process runs: sys.argv is ["-c", folder of our packages, inbox address, outbox address].
_START = (
    "import sys; root = sys.argv[1]; root in sys.path or sys.path.insert(0, root); "
    "from engine.process import main; sys.exit(main(*sys.argv[2:]))"
)


class EngineProcess:
    """A running engine process. Made by `spawn`; its sockets die with it, so no message outlives its sender."""

    def __init__(self, process: asyncio.subprocess.Process, context: zmq.asyncio.Context, folder: Path, name: str):
        self._process = process
        self._inbox: zmq.asyncio.Socket = context.socket(zmq.PULL)
        # sends never block without a high-water mark, so they need no awaiting (and work in a `finally`)
        self._outbox: zmq.Socket[bytes] = zmq.Context(context).socket(zmq.PUSH)
        for socket, direction in ((self._inbox, "from"), (self._outbox, "to")):
            socket.set_hwm(0)
            socket.linger = 0
            socket.bind(_address(folder, name, direction))

    @classmethod
    async def spawn(
        cls, config: EngineConfig, context: zmq.asyncio.Context, folder: Path, name: str
    ) -> "EngineProcess":
        """Starts engine/process.py. Its standard input is the lifeline: it exits when that closes. It imports the
        same packages as this process, and nothing from the current folder.

        Its OpenMP threads sleep while they wait, unless the environment says otherwise: spinning ones cost a busy
        machine a hundred times the step time, since they wait for threads that they keep from running. Its large
        tensors get large pages (docs/performance.md).
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-c",
            _START,
            str(Path(__file__).resolve().parent.parent),
            _address(folder, name, "to"),
            _address(folder, name, "from"),
            stdin=asyncio.subprocess.PIPE,
            env={"OMP_WAIT_POLICY": "PASSIVE", "THP_MEM_ALLOC_ENABLE": "1", **os.environ},
        )
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(config) + b"\n")
        return cls(process, context, folder, name)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: ToEngine) -> None:
        self._outbox.send(_encoder.encode(message), zmq.NOBLOCK)

    async def receive(self) -> FromEngine:
        """The next message. Waits for ever if the process is gone: watch `wait` as well."""
        message: FromEngine = _decoder.decode(await self._inbox.recv())
        return message

    async def wait(self) -> int:
        """Returns the exit status once the process has ended."""
        return await self._process.wait()

    async def kill(self) -> None:
        """Ends the process if it still runs, and closes the sockets."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self._inbox.close()
        self._outbox.close()


def _address(folder: Path, name: str, direction: str) -> str:
    return f"ipc://{folder}/{name}-{direction}"
