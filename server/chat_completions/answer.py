"""Events become the wire's answer: one JSON object, or the frames of a stream.

A stream's frames differ little: what is constant is encoded once, and each text is spliced in as JSON.

    data: {"id":…,"choices":[{"index":0,"delta":{"content":  "text"  },"logprobs":null,"finish_reason":null}]}
    '---------------- head, one for each choice -----------'          '---------------- tail ----------------'
"""

import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from functools import cached_property
from typing import Any

import msgspec

from server.errors import ApiError, openai_error
from server.events import (
    Alternative,
    Event,
    Finished,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallArguments,
    ToolCallStart,
    Usage,
)

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
        collected = self.collected()
        async for index, event in events:
            collected.add(index, event)
        return encode(collected.completion())

    def collected(self) -> "Collected":
        """To be given every event."""
        return Collected(self._header, self._n, logprobs=self._logprobs)

    async def frames(
        self, events: AsyncIterable[tuple[int, Event]], explain: Callable[[Exception], ApiError]
    ) -> AsyncGenerator[bytes, None]:
        """A stream. What `events` raises is told in it, in the words of `explain`."""
        heads = [self._head(index, "content") for index in range(self._n)]
        thought_heads = [self._head(index, "reasoning_content") for index in range(self._n)]
        tail = b'},"logprobs":null,"finish_reason":null}]' + self._end(None)
        usages = []
        for index in range(self._n):
            yield self._chunk(index, {"role": "assistant", "content": ""})
        try:
            async for index, event in events:
                if isinstance(event, TextDelta):
                    if self._logprobs:
                        yield self._chunk(index, {"content": event.text}, logprobs=event.logprobs)
                    else:
                        yield heads[index] + encode(event.text) + tail
                elif isinstance(event, ReasoningDelta):
                    text = encode(event.text)  # under both names that clients know it by
                    yield thought_heads[index] + text + b',"reasoning":' + text + tail
                elif isinstance(event, Finished):
                    usages.append(event.usage)
                    yield self._chunk(index, {}, reason=event.reason)
                elif delta := _delta(event):
                    yield self._chunk(index, delta)
        except Exception as error:
            yield b"data: " + encode(openai_error(explain(error))) + b"\n\n" + DONE
            return
        if self._include_usage:
            yield self._start + b"[]" + self._end(_usage_object(usages))
        yield DONE

    @cached_property
    def _start(self) -> bytes:
        """A frame up to the choices."""
        kind = {"object": "chat.completion.chunk"}
        return b"data: " + encode({**self._header, **kind})[:-1] + b',"choices":'

    def _head(self, index: int, name: str) -> bytes:
        return self._start + b'[{"index":%d,"delta":{"%s":' % (index, name.encode())

    def _end(self, usage: dict[str, Any] | None) -> bytes:
        """A frame from behind the choices on."""
        return (b',"usage":' + encode(usage) if self._include_usage else b"") + b"}\n\n"

    def _chunk(
        self, index: int, delta: dict[str, Any], *, logprobs: Iterable[TokenLogprob] = (), reason: str | None = None
    ) -> bytes:
        """A frame that is not one of the many."""
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": _logprobs_object(logprobs) if logprobs else None,
            "finish_reason": reason,
        }
        return self._start + encode([choice]) + self._end(None)


class Collected:
    """A whole answer, while its events come."""

    def __init__(self, header: dict[str, Any], n: int, *, logprobs: bool) -> None:
        self._header = header
        self._logprobs = logprobs
        self._choices = [_Choice(index) for index in range(n)]
        self._usages: list[Usage] = []

    def add(self, index: int, event: Event) -> None:
        if isinstance(event, Finished):
            self._usages.append(event.usage)
        self._choices[index].add(event)

    def completion(self) -> dict[str, Any]:
        """The object, once every choice is finished."""
        choices = [choice.body(logprobs=self._logprobs) for choice in self._choices]
        usage = _usage_object(self._usages)
        return {**self._header, "object": "chat.completion", "choices": choices, "usage": usage}


class _Choice:
    """One choice of a whole answer, while its events come."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls: list[tuple[ToolCallStart, list[str]]] = []
        self._logprobs: list[TokenLogprob] = []
        self._reason = ""

    def add(self, event: Event) -> None:
        if isinstance(event, TextDelta):
            self._texts.append(event.text)
            self._logprobs.extend(event.logprobs)
        elif isinstance(event, ReasoningDelta):
            self._thoughts.append(event.text)
        elif isinstance(event, ToolCallStart):
            self._calls.append((event, []))
        elif isinstance(event, ToolCallArguments):
            self._calls[event.index][1].append(event.delta)
        elif isinstance(event, Finished):
            self._reason = event.reason

    def body(self, *, logprobs: bool) -> dict[str, Any]:
        return {
            "index": self._index,
            "message": self._message(),
            "logprobs": _logprobs_object(self._logprobs) if logprobs else None,
            "finish_reason": self._reason,
        }

    def _message(self) -> dict[str, Any]:
        """An answer that only calls tools has no content."""
        text = "".join(self._texts)
        message: dict[str, Any] = {"role": "assistant", "content": text if text or not self._calls else None}
        message |= {"refusal": None, "annotations": []}
        if self._thoughts:
            message |= _reasoning("".join(self._thoughts))
        if self._calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": "".join(arguments)}}
                for call, arguments in self._calls
            ]
        return message


def _reasoning(text: str) -> dict[str, Any]:
    """Both names that clients know it by."""
    return {"reasoning_content": text, "reasoning": text}


def _delta(event: Event) -> dict[str, Any]:
    """The delta of an event of a call. Clients join the strings of a call's deltas, so id, type and name come once.
    The end of a call is not told."""
    if isinstance(event, ToolCallStart):
        function = {"name": event.name, "arguments": ""}
        return {"tool_calls": [{"index": event.index, "id": event.id, "type": "function", "function": function}]}
    if isinstance(event, ToolCallArguments):
        return {"tool_calls": [{"index": event.index, "function": {"arguments": event.delta}}]}
    return {}


def _usage_object(usages: list[Usage]) -> dict[str, Any]:
    """Of all sequences: the prompt, which they share, counts once; cached is what was there for every one."""
    prompt = usages[0].prompt_tokens
    completion = sum(usage.completion_tokens for usage in usages)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": min(usage.cached_tokens for usage in usages)},
        "completion_tokens_details": {"reasoning_tokens": sum(usage.reasoning_tokens for usage in usages)},
    }


def _logprobs_object(tokens: Iterable[TokenLogprob]) -> dict[str, Any]:
    content = [
        {**_alternative(token.chosen), "top_logprobs": [_alternative(other) for other in token.top]} for token in tokens
    ]
    return {"content": content, "refusal": None}


def _alternative(token: Alternative) -> dict[str, Any]:
    return {"token": token.text, "logprob": token.logprob, "bytes": list(token.bytes)}
