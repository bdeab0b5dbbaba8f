"""Events become Anthropic's answer: one message, or the events of a stream.

Both are made by `_Blocks`, which knows the one content block that is open. A stream's frames differ little: the head of
text deltas is encoded once a block, and each text is spliced in as JSON.

    event: content_block_delta
    data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":  "text"  }}
    '------------------------- head, one for each block ----------------------------'          '- tail
"""

import contextlib
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from typing import Any

import msgspec
from pydantic_core import from_json

from server.errors import ApiError
from server.events import (
    Event,
    Finished,
    ReasoningDelta,
    TextDelta,
    ToolCallArguments,
    ToolCallStart,
    Usage,
)
from server.messages.errors import anthropic_error
from server.messages.thoughts import sign

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
CALL_ID = re.compile(r"[a-zA-Z0-9_-]+")  # what Anthropic's API lets a call's id be
TAIL = b"}}\n\n"
encode = msgspec.json.encode

DELTAS = {"text": "text", "thinking": "thinking", "tool_use": "partial_json"}  # kind of block -> what deltas call it


class Answer:
    """What is the same in all of a request's answer, and how events become the rest."""

    def __init__(self, *, id: str, model: str, max_tokens: int, diagnostics: bool, hide_thinking: bool) -> None:
        """`diagnostics`: whether the request spoke of an earlier answer. `hide_thinking`: thoughts are signatures."""
        self._header: dict[str, Any] = {"id": id, "type": "message", "role": "assistant", "model": model}
        if diagnostics:
            self._header["diagnostics"] = {"cache_miss_reason": {"type": "unavailable"}}
        self._max_tokens = max_tokens
        self._hide_thinking = hide_thinking

    async def whole(self, events: AsyncIterable[tuple[int, Event]]) -> bytes:
        """One object: a stream's events, collected."""
        blocks = _Blocks(hide_thinking=self._hide_thinking)
        content: list[dict[str, Any]] = []
        pieces: list[list[str]] = []
        end: dict[str, Any] = {}
        async for _, event in events:
            for told in blocks.take(event):
                if told["type"] == "content_block_start":
                    content.append(told["content_block"])
                    pieces.append([])
                elif told["type"] == "content_block_delta":
                    _collect(told["delta"], content[-1], pieces[-1])
            if isinstance(event, Finished):
                end = {**self._ending(event), "usage": {**_usage(event.usage), "service_tier": "standard"}}
        for block, texts in zip(content, pieces, strict=True):
            _complete(block, "".join(texts))
        return encode({**self._header, "content": content, **end})

    async def frames(
        self,
        events: AsyncIterable[tuple[int, Event]],
        prompt_tokens: int,
        explain: Callable[[Exception], ApiError],
        request_id: str,
    ) -> AsyncGenerator[bytes, None]:
        """A stream. What `events` raises is told in it, in the words of `explain`."""
        yield _frame({"type": "message_start", "message": self._start(prompt_tokens)})
        blocks = _Blocks(hide_thinking=self._hide_thinking)
        try:
            async for _, event in events:
                if isinstance(event, TextDelta) and blocks.text_head:
                    yield blocks.text_head + encode(event.text) + TAIL
                    continue
                for told in blocks.take(event):
                    yield _frame(told)
                if isinstance(event, Finished):
                    yield _frame({"type": "message_delta", "delta": self._ending(event), "usage": _usage(event.usage)})
                    yield _frame({"type": "message_stop"})
        except Exception as error:
            yield _frame(anthropic_error(explain(error), request_id))

    def _start(self, prompt_tokens: int) -> dict[str, Any]:
        """The message while nothing was said. How much of the prompt was cached is known at the end."""
        usage = {**_usage(Usage(prompt_tokens, 0, 0)), "service_tier": "standard"}
        return {**self._header, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}

    def _ending(self, event: Finished) -> dict[str, Any]:
        if event.reason == "length":
            full = event.usage.completion_tokens < self._max_tokens
            reason = "model_context_window_exceeded" if full else "max_tokens"
        elif event.reason == "tool_calls":
            reason = "tool_use"
        else:
            reason = "end_turn" if event.stop_string is None else "stop_sequence"
        return {"stop_reason": reason, "stop_sequence": event.stop_string}


class _Blocks:
    """The content blocks of one answer: turns each event into those of the protocol's that tell it.

    `text_head`: while a block of text is open, the frame of its deltas up to the text.
    """

    def __init__(self, *, hide_thinking: bool) -> None:
        self.text_head = b""
        self._hide_thinking = hide_thinking
        self._hidden: list[str] = []  # thoughts of the open block
        self._open = ""  # kind of the open block
        self._index = -1  # of the block begun last

    def take(self, event: Event) -> list[dict[str, Any]]:
        if isinstance(event, TextDelta):
            return [*self._enter("text"), self._delta(type="text_delta", text=event.text)]
        if isinstance(event, ReasoningDelta):
            return [*self._enter("thinking"), *self._think(event.text)]
        if isinstance(event, ToolCallStart):
            return [*self._close(), *self._begin("tool_use", id=_call_id(event.id), name=event.name, input={})]
        if isinstance(event, ToolCallArguments):
            return [self._delta(type="input_json_delta", partial_json=event.delta)]
        return self._close()

    def _enter(self, kind: str) -> list[dict[str, Any]]:
        """Begins a block of this kind unless one is open."""
        if self._open == kind:
            return []
        empty = {"text": ""} if kind == "text" else {"thinking": "", "signature": ""}
        return [*self._close(), *self._begin(kind, **empty)]

    def _begin(self, kind: str, **members: Any) -> list[dict[str, Any]]:
        self._open = kind
        self._index += 1
        if kind == "text":
            self.text_head = _frame(self._delta(type="text_delta", text=""))[: -len(b'""' + TAIL)]
        block = {"type": kind, **members}
        return [{"type": "content_block_start", "index": self._index, "content_block": block}]

    def _delta(self, **delta: str) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}

    def _think(self, thought: str) -> list[dict[str, Any]]:
        if not self._hide_thinking:
            return [self._delta(type="thinking_delta", thinking=thought)]
        self._hidden.append(thought)
        return []

    def _close(self) -> list[dict[str, Any]]:
        """Ends the open block, if one is."""
        if not self._open:
            return []
        told: list[dict[str, Any]] = []
        if self._open == "thinking":
            signature = sign("".join(self._hidden), hidden=self._hide_thinking)
            told.append(self._delta(type="signature_delta", signature=signature))
        self._open, self._hidden, self.text_head = "", [], b""
        return [*told, {"type": "content_block_stop", "index": self._index}]


def _collect(delta: dict[str, str], block: dict[str, Any], pieces: list[str]) -> None:
    """Takes a delta into a block of a whole answer."""
    if delta["type"] == "signature_delta":
        block["signature"] = delta["signature"]
    else:
        pieces.append(delta[DELTAS[block["type"]]])


def _complete(block: dict[str, Any], text: str) -> None:
    """The pieces of a block, joined, are its text or its thought, or the JSON of its input."""
    if block["type"] == "tool_use":
        block["input"] = _input(text)
    else:
        block[block["type"]] = text


def _input(text: str) -> Any:
    """A call's input: what the model wrote. Of a call that was cut, what there is of it, as clients read it from a
    stream. Text that is no object (where constrained decoding is off) becomes the member `arguments` of one."""
    for partial in (False, True):
        with contextlib.suppress(ValueError):
            value = from_json(text or "{}", allow_inf_nan=False, allow_partial=partial)
            if isinstance(value, dict):
                return value if partial else msgspec.Raw((text or "{}").encode())
    return {"arguments": text}


def _call_id(native: str) -> str:
    """The model's own id if Anthropic's clients may see it, else one that no other call has."""
    return native if CALL_ID.fullmatch(native) else "toolu_" + secrets.token_hex(12)


def _usage(usage: Usage) -> dict[str, Any]:
    """Tokens that were found in the cache are not among `input_tokens`."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }


def _frame(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: ".encode() + encode(event) + b"\n\n"
