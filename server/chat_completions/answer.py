"""Events become the wire's answer: one JSON object, or the frames of a stream.

A stream's frames differ little: what is constant is encoded once, and each text is spliced in as JSON.

    data: {"id":…,"choices":[{"index":0,"delta":{"content":  "text"  },"logprobs":null,"finish_reason":null}]}
    '---------------- head, one for each choice -----------'          '---------------- tail ----------------'
"""

import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from typing import Any

import msgspec

from server.errors import ApiError, openai_error
from server.events import Alternative, Event, TextDelta, TokenLogprob, Usage

DONE = b"data: [DONE]\n\n"
encode = msgspec.json.encode


class Answer:
    """What is the same in all of a request's answer, and how events become the rest."""

    def __init__(
        self,
        *,
        id: str,
        model: str,
        fingerprint: str,
        service_tier: bool,
        n: int,
        logprobs: bool,
        include_usage: bool,
    ) -> None:
        """`service_tier`: whether the request spoke of it. `include_usage` is of streams."""
        self._header: dict[str, Any] = {
            "id": id,
            "object": "",  # this place in the order; set for each kind of answer
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": fingerprint,
        }
        if service_tier:
            self._header["service_tier"] = "default"
        self._n = n
        self._logprobs = logprobs
        self._include_usage = include_usage

    async def whole(self, events: AsyncIterable[tuple[int, Event]]) -> bytes:
        """One object: a stream's events, collected."""
        texts: list[list[str]] = [[] for _ in range(self._n)]
        logprobs: list[list[TokenLogprob]] = [[] for _ in range(self._n)]
        reasons = [""] * self._n
        usages = []
        async for index, event in events:
            if isinstance(event, TextDelta):
                texts[index].append(event.text)
                logprobs[index].extend(event.logprobs)
            else:
                reasons[index] = event.reason
                usages.append(event.usage)
        choices: list[dict[str, Any]] = [
            {
                "index": index,
                "message": {
                    "role": "assistant",
                    "content": "".join(texts[index]),
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": _logprobs_object(logprobs[index]) if self._logprobs else None,
                "finish_reason": reasons[index],
            }
            for index in range(self._n)
        ]
        kind = {"object": "chat.completion"}
        return encode({**self._header, **kind, "choices": choices, "usage": _usage_object(usages)})

    async def frames(
        self, events: AsyncIterable[tuple[int, Event]], explain: Callable[[Exception], ApiError]
    ) -> AsyncGenerator[bytes, None]:
        """A stream. What `events` raises is told in it, in the words of `explain`."""
        heads = [self._head(index) for index in range(self._n)]
        tail = b'},"logprobs":null,"finish_reason":null}]' + self._end(None)
        usages = []
        for index in range(self._n):
            yield self._chunk(index, {"role": "assistant", "content": ""})
        try:
            async for index, event in events:
                if not isinstance(event, TextDelta):
                    usages.append(event.usage)
                    yield self._chunk(index, {}, reason=event.reason)
                elif self._logprobs:
                    yield self._chunk(index, {"content": event.text}, logprobs=event.logprobs)
                else:
                    yield heads[index] + encode(event.text) + tail
        except Exception as error:
            yield b"data: " + encode(openai_error(explain(error))) + b"\n\n" + DONE
            return
        if self._include_usage:
            yield self._start + b"[]" + self._end(_usage_object(usages))
        yield DONE

    @property
    def _start(self) -> bytes:
        """A frame up to the choices."""
        kind = {"object": "chat.completion.chunk"}
        return b"data: " + encode({**self._header, **kind})[:-1] + b',"choices":'

    def _head(self, index: int) -> bytes:
        return self._start + b'[{"index":%d,"delta":{"content":' % index

    def _end(self, usage: dict[str, Any] | None) -> bytes:
        """A frame from behind the choices on."""
        return (b',"usage":' + encode(usage) if self._include_usage else b"") + b"}\n\n"

    def _chunk(
        self, index: int, delta: dict[str, str], *, logprobs: Iterable[TokenLogprob] = (), reason: str | None = None
    ) -> bytes:
        """A frame that is not one of the many."""
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": _logprobs_object(logprobs) if logprobs else None,
            "finish_reason": reason,
        }
        return self._start + encode([choice]) + self._end(None)


def _usage_object(usages: list[Usage]) -> dict[str, Any]:
    """Of all sequences: the prompt, which they share, counts once; cached is what was there for every one."""
    prompt = usages[0].prompt_tokens
    completion = sum(usage.completion_tokens for usage in usages)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": min(usage.cached_tokens for usage in usages)},
    }


def _logprobs_object(tokens: Iterable[TokenLogprob]) -> dict[str, Any]:
    content = [
        {**_alternative(token.chosen), "top_logprobs": [_alternative(other) for other in token.top]} for token in tokens
    ]
    return {"content": content, "refusal": None}


def _alternative(token: Alternative) -> dict[str, Any]:
    return {"token": token.text, "logprob": token.logprob, "bytes": list(token.bytes)}
