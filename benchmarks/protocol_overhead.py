"""What each protocol costs per streamed token over the bare pipeline: ratios of one run, so that any machine can judge.

    python benchmarks/protocol_overhead.py [--streams 32] [--tokens 400] [--repeat 20]

The bare pipeline is a route of the same application that sends the text of each event as it is, through the same
delivery; the protocols make their own objects of the same events. One process serves, with an engine that answers at
once (api_stream.py), another reads. Each protocol's streams follow the bare route's at once, so that whatever else the
machine does meets both. Printed, over all such pairs: the median of the server's CPU time for a token, and the median
and the quartiles of its ratio to the bare route's.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import secrets
import socket
import statistics
import time
from collections.abc import AsyncGenerator
from multiprocessing.connection import Connection
from typing import Any

import uvicorn
import uvloop
from api_stream import LIMIT_SECONDS, MODEL, TickingEngine, load_model
from fastapi import FastAPI, Request, Response

from server import delivery
from server.admission import Admission
from server.app import create_app
from server.chat_completions.adapter import text_request
from server.chat_completions.schema import ChatCompletionRequest
from server.events import TextDelta
from server.generation import Generation, Generator
from server.metrics import Metrics
from server.settings import Settings
from server.wire import parse

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "stream": True}
CONTENTS = [{"role": "user", "parts": [{"text": "Hi"}]}]
BARE = "bare pipeline"


def requests(tokens: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """Name -> path and body of one stream of `tokens` tokens."""
    return {
        BARE: ("/bare", {**CHAT, "max_tokens": tokens}),
        "chat completions": ("/v1/chat/completions", {**CHAT, "max_tokens": tokens}),
        "completions": ("/v1/completions", {"model": MODEL, "prompt": "Hi", "max_tokens": tokens, "stream": True}),
        "responses": (
            "/v1/responses",
            {"model": MODEL, "input": "Hi", "max_output_tokens": tokens, "stream": True, "store": False},
        ),
        "messages": ("/v1/messages", {**CHAT, "max_tokens": tokens}),
        "gemini": (
            f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse",
            {"contents": CONTENTS, "generationConfig": {"maxOutputTokens": tokens}},
        ),
    }


async def bare_frames(generation: Generation) -> AsyncGenerator[bytes, None]:
    async for _, event in generation:
        if isinstance(event, TextDelta):
            yield b"data: %b\n\n" % event.text.encode()


def application() -> FastAPI:
    model = load_model()
    settings = Settings(max_running=1024, store="none")
    engine = TickingEngine(model.tokenizer.vocab_size)
    app = create_app(settings, engine, model)
    admission = Admission(settings.max_running, settings.max_queue)
    generator = Generator(engine, model, admission, Metrics(engine, admission), None)

    @app.post("/bare")
    async def bare(request: Request) -> Response:
        wire = parse(ChatCompletionRequest, await request.body(), {"max_messages": settings.max_messages})
        generation = await generator.begin(text_request(wire, secrets.token_hex(12), model, settings))
        return await delivery.stream(request, generation, bare_frames(generation), settings.keep_alive_seconds)

    return app


def serve(listener: socket.socket, pipe: Connection) -> None:
    """The server process. Answers each message on `pipe` with the CPU seconds it has used; None ends it."""
    if hasattr(os, "sched_setaffinity") and len(cores := sorted(os.sched_getaffinity(0))) > 1:
        os.sched_setaffinity(0, cores[:1])
    config = uvicorn.Config(application(), http="httptools", ws="none", log_level="warning", access_log=False)
    server = uvicorn.Server(config)

    async def main() -> None:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, pipe.recv) is not None:
            pipe.send(time.process_time())
        server.should_exit = True
        await serving

    uvloop.run(main())


async def read(address: tuple[str, int], path: str, body: bytes, tokens: int) -> None:
    """One stream to its end. Raises AssertionError if it is not a whole one."""
    reader, writer = await asyncio.open_connection(*address)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    start, frames = await reader.readuntil(b"\r\n"), 0
    while data := await reader.read(1 << 16):
        frames += data.count(b"data: ")
    writer.close()
    assert b" 200 " in start, start
    # A mark that lies across two reads is not counted.
    assert frames >= tokens * 0.9, (path, frames)


async def streams(address: tuple[str, int], path: str, body: dict[str, Any], count: int, tokens: int) -> None:
    data = json.dumps(body).encode()
    reading = [read(address, path, data, tokens) for _ in range(count)]
    await asyncio.wait_for(asyncio.gather(*reading), LIMIT_SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=32, help="streams at a time")
    parser.add_argument("--tokens", type=int, default=400, help="tokens in each stream")
    parser.add_argument("--repeat", type=int, default=20, help="rounds through all protocols")
    options = parser.parse_args()

    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    address = listener.getsockname()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(listener, theirs))
    server.start()
    if hasattr(os, "sched_setaffinity") and len(cores := sorted(os.sched_getaffinity(0))) > 1:
        os.sched_setaffinity(0, cores[1:])

    def cpu() -> float:
        ours.send("cpu")
        return float(ours.recv())

    wanted = requests(options.tokens)

    def cost(name: str) -> float:
        """µs of the server's CPU for a token."""
        path, body = wanted[name]
        before = cpu()
        uvloop.run(streams(address, path, body, options.streams, options.tokens))
        return (cpu() - before) / (options.streams * options.tokens) * 1e6

    costs: dict[str, list[float]] = {name: [] for name in wanted}
    ratios: dict[str, list[float]] = {name: [] for name in wanted}
    for round_ in range(options.repeat + 1):  # the first warms up
        for name in wanted:
            bare, own = cost(BARE), cost(name)
            if round_:
                costs[name].append(own)
                ratios[name].append(own / bare)
    ours.send(None)
    server.join(10)

    print("| | µs a token | over bare, median | quartiles |\n|---|---:|---:|---:|")
    for name, own in costs.items():
        low, middle, high = statistics.quantiles(ratios[name], n=4)
        print(f"| {name} | {statistics.median(own):.1f} | {middle:.2f} | {low:.2f}–{high:.2f} |")


if __name__ == "__main__":
    main()
