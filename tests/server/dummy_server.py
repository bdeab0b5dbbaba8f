"""Runs `abruzzi serve`'s own start-up and shutdown around a dummy application and a dummy engine.

    python dummy_server.py [drain_seconds]      prints the bound port on its first line

GET /stream/N sends a line every 50 ms, N lines; GET /give-up gives the engine up; other paths answer "ok",
and all answer 503 once `app.state.draining` is set.
"""

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sse_starlette  # noqa: F401  (patches uvicorn's signal handling, as in the real application)
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse

import server.serve
from engine import ConfigError, PlanLine, Ready
from server.background import Background
from server.keys.keyring import Keyring
from server.settings import Settings
from server.store.store import Store

READY = Ready(
    architecture="Dummy",
    parameters=8_300_000,
    dtype="float32",
    device="cpu",
    vocab_size=8,
    max_model_len=64,
    kv_tokens=1024,
    notes=["the engine's note"],
)
stopped = asyncio.Event()
given_up = asyncio.Event()


class DummyEngine:
    status = SimpleNamespace(state="ready", detail="it keeps dying", progress=1.0)

    def __init__(self, config: Any, *, stall_seconds: float) -> None:
        pass

    async def start(self) -> None:
        pass

    async def wait_plan(self) -> list[PlanLine]:
        return [PlanLine("weights", 3 * 2**20, "[bf16]"), PlanLine("KV cache", 2**20)]

    async def wait_ready(self) -> Ready:
        if "--fail" in sys.argv:
            raise ConfigError("the weights are made of cheese")
        if "--hang" in sys.argv:
            await asyncio.Event().wait()
        return READY

    async def wait_given_up(self) -> None:
        await given_up.wait()
        stopped.set()  # as the real one: what runs is ended when the engine dies

    async def stop(self) -> None:
        stopped.set()


def create_app(settings: Any, engine: Any, model: Any) -> FastAPI:
    app = FastAPI()
    app.state.draining = False
    app.state.background = Background()
    app.state.store = Store.of(Settings(store="none"))
    app.state.keyring = Keyring((), None)

    @app.get("/stream/{lines}")
    async def stream(lines: int) -> StreamingResponse:
        async def body() -> Any:
            for number in range(lines):
                if stopped.is_set():
                    yield "engine stopped\n"
                    return
                yield f"line {number}\n"
                await asyncio.sleep(0.05)

        return StreamingResponse(body())

    @app.get("/give-up")
    async def give_up() -> None:
        given_up.set()

    @app.get("/state")
    async def state() -> Response:
        return Response("no newcomers", 503, {"retry-after": "5"}) if app.state.draining else Response("ok")

    return app


def main() -> int:
    model = SimpleNamespace(dialect=SimpleNamespace(takes_messages="--base" not in sys.argv))
    server.serve.EngineClient = DummyEngine  # type: ignore[assignment, misc]
    server.serve.create_app = create_app
    server.serve.ServedModel = SimpleNamespace(load=lambda *known: model)  # type: ignore[assignment, misc]
    server.serve.find_model = lambda settings: (Path("."), ("dummy",))
    drain_seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    try:
        return server.serve.serve(Settings(port=0, drain_seconds=drain_seconds))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
