"""An application around a FakeEngine and the tiny Kimi tokenizer, and a client that speaks ASGI by hand."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from support.fake_engine import FakeEngine, ScriptStep, outputs

from engine import GenerateRequest
from server.app import create_app
from server.dialects.registry import load_dialect
from server.sampling import SamplingDefaults
from server.served_model import ServedModel
from server.settings import Settings
from server.text.tokenizer import load_tokenizer

TINY = Path(__file__).parent.parent / "data" / "tiny_kimi"
MODEL = "org/tiny"
ANSWER = "Grüße, 世界! 🦀 It costs $3.50.\nSecond line."


def load_model(names: tuple[str, ...] = (MODEL, "alias")) -> ServedModel:
    tokenizer = load_tokenizer(TINY)
    return ServedModel(
        names=names,
        created=1_700_000_000,
        folder=TINY,
        tokenizer=tokenizer,
        dialect=load_dialect(TINY, tokenizer),
        sampling=SamplingDefaults(temperature=0.6),
        eos_ids=frozenset({tokenizer.control_tokens["<|im_end|>"], tokenizer.control_tokens["[EOS]"]}),
    )


class Served:
    """One application with all its parts at hand. The engine says ANSWER unless `engine.script` is replaced. Nothing is
    stored unless `store` is given."""

    def __init__(self, model: ServedModel, **settings: Any) -> None:
        self.model = model
        self.settings = Settings(**{"store": "none", **settings})
        self.engine = FakeEngine(self.say(ANSWER), vocab_size=model.tokenizer.vocab_size)
        self.app: FastAPI = create_app(self.settings, self.engine, model)

    @property
    def end(self) -> int:
        return self.model.tokenizer.control_tokens["<|im_end|>"]

    def say(self, text: str, **how: Any) -> Any:
        """A script: `text`, then the end of sequence."""
        token_ids = [*self.model.tokenizer.encode(text), self.end]

        def script(request: GenerateRequest) -> Iterable[ScriptStep]:
            return outputs(request, token_ids, **how)

        return script

    def client(self, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://abruzzi", **options)

    async def post(self, **fields: Any) -> httpx.Response:
        """A chat completion; fields override those of a plain request."""
        async with self.client() as client:
            return await client.post("/v1/chat/completions", json=chat(**fields))


def chat(**fields: Any) -> dict[str, Any]:
    """A request body."""
    return {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], **fields}


def frames(body: str) -> list[Any]:
    """The data of a stream's frames: JSON, and "[DONE]". Comments are left out."""
    assert body.endswith("\n\n")
    found = [frame for frame in body.split("\n\n")[:-1] if not frame.startswith(":")]
    assert all(frame.startswith("data: ") and "\n" not in frame for frame in found), found
    data = [frame.removeprefix("data: ") for frame in found]
    return [one if one == "[DONE]" else json.loads(one) for one in data]


class HandCall:
    """One call of an ASGI application whose client can hang up midway. httpx's transport cannot: it collects the
    whole answer first."""

    def __init__(
        self,
        app: FastAPI,
        body: dict[str, Any],
        path: str = "/v1/chat/completions",
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self.status = 0
        self.body = b""
        self.changed = asyncio.Event()
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._incoming.put_nowait({"type": "http.request", "body": json.dumps(body).encode(), "more_body": False})
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"content-type", b"application/json"), *headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        self.task = asyncio.ensure_future(app(scope, self._incoming.get, self._send))  # type: ignore[arg-type]

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message.get("body", b"")
        self.changed.set()
        await asyncio.sleep(0)

    def hang_up(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def until(self, text: bytes) -> None:
        """Waits until the answer holds `text`."""
        while text not in self.body:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 10)
