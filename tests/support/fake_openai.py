"""A small application that answers as OpenAI's API does, and remembers what it was asked."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse


@dataclass
class FakeServer:
    """`requests`: the bodies received. A prompt that holds "fail" gets a 400, one that holds "midway" an error in
    its stream, one that holds "forever" an answer without end; all others get `max_tokens` or 5 words. Word k of an
    answer is "k " and every third token carries no text."""

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    open: int = 0
    most_open: int = 0
    pause: float = 0.0

    def application(self) -> FastAPI:
        app = FastAPI()

        @app.get("/v1/models")
        async def models() -> Any:
            return {"object": "list", "data": [{"id": "fake-model"}, {"id": "other"}]}

        @app.post("/v1/chat/completions")
        async def complete(request: Request) -> Response:
            body = await request.json()
            self.requests.append(body)
            self.headers.append(dict(request.headers))
            text = body["messages"][-1]["content"]
            if "fail" in text:
                return JSONResponse({"error": {"message": "no [such] thing"}}, 400)
            return StreamingResponse(self._stream(body, text), media_type="text/event-stream")

        return app

    async def _stream(self, body: dict[str, Any], text: str) -> AsyncIterator[bytes]:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            yield event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
            total = body.get("max_tokens", 5)
            number = 0
            while number < total or "forever" in text:
                number += 1
                if "midway" in text and number == 3:
                    yield event({"error": {"message": "the engine died"}})
                    return
                await asyncio.sleep(self.pause)
                if number % 3:
                    yield event({"choices": [{"index": 0, "delta": {"content": f"{number} "}}]})
            yield event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            prompt = sum(len(message["content"].split()) for message in body["messages"]) + 10
            usage = {"prompt_tokens": prompt, "completion_tokens": total, "total_tokens": prompt + total}
            if body.get("stream_options"):
                yield event({"choices": [], "usage": usage})
            yield b": a comment\r\n\r\ndata: [DONE]\r\n\r\n"
        finally:
            self.open -= 1


def event(content: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\r\n\r\n"
