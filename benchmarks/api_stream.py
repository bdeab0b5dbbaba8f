"""What the API process costs per streamed token: the real application under uvicorn, an engine that answers at once.

    python benchmarks/api_stream.py [--streams 1,4,16,64,256] [--tokens 400] [--profile]

One process serves, another reads, over loopback. The engine hands every stream a token in each turn of the event loop,
as the real one does with each step; the reader counts frames and does nothing else. Printed: frames a second, the
share of a core that the server used, and its microseconds for a frame.
"""

import argparse
import asyncio
import cProfile
import json
import multiprocessing
import os
import socket
import statistics
import sys
import time
from collections.abc import AsyncGenerator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import uvicorn  # noqa: E402
import uvloop  # noqa: E402
from support.fake_engine import FakeEngine  # noqa: E402
from support.served import MODEL, load_model  # noqa: E402

from engine import GenerateRequest, StepOutput  # noqa: E402
from server.app import create_app  # noqa: E402
from server.settings import Settings  # noqa: E402

LIMIT_SECONDS = 120


class TickingEngine(FakeEngine):
    """Gives each open request one token per turn of the event loop."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__(lambda request: (), vocab_size=vocab_size)
        self._waiting: list[asyncio.Future[None]] = []
        self._ticker: asyncio.Task[None] | None = None

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[StepOutput, None]:
        loop = asyncio.get_running_loop()
        count = request.sampling.max_tokens
        for number in range(count):
            turn = loop.create_future()
            self._waiting.append(turn)
            if self._ticker is None or self._ticker.done():
                self._ticker = asyncio.create_task(self._tick())
            await turn
            yield StepOutput(request.id, [65 + number % 26], "length" if number == count - 1 else None)

    async def _tick(self) -> None:
        while self._waiting:
            due, self._waiting = self._waiting, []
            for turn in due:
                if not turn.done():
                    turn.set_result(None)
            await asyncio.sleep(0)


def serve(listener: socket.socket, pipe: Connection, profile: bool) -> None:
    """The server process. Answers each message on `pipe` with the CPU seconds it has used; None ends it."""
    if hasattr(os, "sched_setaffinity") and len(cores := sorted(os.sched_getaffinity(0))) > 1:
        os.sched_setaffinity(0, cores[:1])
    model = load_model()
    app = create_app(Settings(max_running=1024), TickingEngine(model.tokenizer.vocab_size), model)
    config = uvicorn.Config(app, http="httptools", ws="none", log_level="warning", access_log=False)
    server = uvicorn.Server(config)

    async def main() -> None:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, pipe.recv) is not None:
            pipe.send(time.process_time())
        server.should_exit = True
        await serving

    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    uvloop.run(main())
    if profile:
        profiler.disable()
        profiler.create_stats()
        import pstats

        pstats.Stats(profiler).sort_stats("tottime").print_stats(35)


class Reader(asyncio.Protocol):
    """Sends one request and counts the frames of its answer."""

    def __init__(self, request: bytes) -> None:
        self.frames = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._tail = b""

    def connection_made(self, transport: Any) -> None:
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        data = self._tail + data
        self.frames += data.count(b"data: ")
        self._tail = data[-5:]  # too short to hold the mark that was counted
        if b"[DONE]" in data and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server closed the connection"))


async def measure(address: tuple[str, int], streams: int, tokens: int) -> tuple[int, float]:
    """Frames and seconds of `streams` answers at once."""
    body = json.dumps(
        {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": tokens, "stream": True}
    ).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    opened = [await loop.create_connection(lambda: Reader(head.encode() + body), *address) for _ in range(streams)]
    readers = [reader for _, reader in opened]
    await asyncio.wait_for(asyncio.gather(*(reader.done for reader in readers)), LIMIT_SECONDS)
    seconds = time.perf_counter() - start
    for transport, _ in opened:
        transport.close()
    frames = sum(reader.frames for reader in readers)
    assert frames == streams * (tokens + 3), frames  # the role, the finish and [DONE] besides the tokens
    return frames, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", default="1,4,16,64,256", help="numbers of concurrent streams")
    parser.add_argument("--tokens", type=int, default=400, help="tokens in each stream")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the median is shown")
    parser.add_argument("--profile", action="store_true", help="print where the server's time went")
    options = parser.parse_args()

    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    address = listener.getsockname()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(listener, theirs, options.profile))
    server.start()
    if hasattr(os, "sched_setaffinity") and len(cores := sorted(os.sched_getaffinity(0))) > 1:
        os.sched_setaffinity(0, cores[1:])

    def cpu() -> float:
        ours.send("cpu")
        return float(ours.recv())

    cpu()
    uvloop.run(measure(address, 8, 50))  # warm up
    print("| streams | frames/s | server CPU | µs a frame |\n|---:|---:|---:|---:|")
    for streams in map(int, options.streams.split(",")):
        rates, shares, costs = [], [], []
        for _ in range(options.repeat):
            before = cpu()
            frames, seconds = uvloop.run(measure(address, streams, options.tokens))
            used = cpu() - before
            rates.append(frames / seconds)
            shares.append(used / seconds)
            costs.append(used / frames * 1e6)
        median = statistics.median
        print(f"| {streams} | {median(rates):,.0f} | {median(shares):.0%} | {median(costs):.1f} |", flush=True)
    ours.send(None)
    server.join(10)


if __name__ == "__main__":
    main()
