"""Events become output items, and what a stream tells of them on the way.

reasoning ── message ── function_call ── function_call …      one item is open at a time
"""

from typing import Any

import msgspec

from server.events import (
    Alternative,
    Delta,
    Event,
    PromptLogprobs,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallArguments,
    ToolCallEnd,
    ToolCallStart,
)
from server.responses.items import Item, sealed

Told = dict[str, Any]  # an event of the stream, without its sequence number
encode = msgspec.json.encode


class Output:
    """The output of one response."""

    def __init__(self, name: str, *, summary: bool, encrypted: bool) -> None:
        """`name`: of the response, which its items bear. `summary`: thoughts are told as their summary; `encrypted`:
        in sealed form too."""
        self.items: list[Item] = []  # those that are over
        self._name = name
        self._summary = summary
        self._encrypted = encrypted
        self._open: _Message | _Reasoning | _Call | None = None

    def feed(self, event: Delta | PromptLogprobs) -> list[Told]:
        """What is to be told of an event."""
        if isinstance(event, TextDelta):
            return self._text(event)
        if isinstance(event, ReasoningDelta):
            told = [] if isinstance(self._open, _Reasoning) else self._begin_reasoning()
            assert isinstance(self._open, _Reasoning)
            return [*told, self._open.add(event.text)]
        if isinstance(event, ToolCallStart):
            call = _Call(f"fc_{self._name}_{self._next}", self._next, event)
            return self._begin(call)
        if isinstance(event, ToolCallArguments):
            assert isinstance(self._open, _Call), "arguments outside a call"
            return [self._open.add(event.delta)]
        return self.close("completed") if isinstance(event, ToolCallEnd) else []

    def quick(self, event: Event) -> bytes | None:
        """The frame of a delta that only adds text to the open item, up to its sequence number; None for all else,
        which is to be fed."""
        item = self._open
        if isinstance(event, TextDelta):
            if not isinstance(item, _Message) or event.logprobs or not event.text:
                return None
            text = event.text
        elif isinstance(event, ToolCallArguments) and isinstance(item, _Call):
            text = event.delta
        elif isinstance(event, ReasoningDelta) and isinstance(item, _Reasoning):
            text = event.text
        else:
            return None
        item.texts.append(text)
        return item.head + encode(text)

    def close(self, status: str) -> list[Told]:
        """Ends the open item, if any."""
        if self._open is None:
            return []
        told, item = self._open.end(status)
        self._open = None
        self.items.append(item)
        done = {"type": "response.output_item.done", "output_index": len(self.items) - 1, "item": item}
        return [*told, done]

    def finish(self, *, cut: bool) -> list[Told]:
        """No more events come; `cut`: the answer did not end by itself. One that says nothing has an empty message."""
        told = []
        said = self._open is not None or any(item["type"] != "reasoning" for item in self.items)
        if not cut and (not said or isinstance(self._open, _Reasoning)):
            told = self._text(TextDelta(""))
        return [*told, *self.close("incomplete" if cut else "completed")]

    @property
    def _next(self) -> int:
        """The index of an item that begins now."""
        return len(self.items) + (self._open is not None)

    def _text(self, event: TextDelta) -> list[Told]:
        told: list[Told] = []
        if not isinstance(self._open, _Message):
            told = self._begin(_Message(f"msg_{self._name}_{self._next}", self._next))
        assert isinstance(self._open, _Message)
        if event.text or event.logprobs:
            told.append(self._open.add(event))
        return told

    def _begin_reasoning(self) -> list[Told]:
        id = f"rs_{self._name}_{self._next}"
        return self._begin(_Reasoning(id, self._next, summary=self._summary, encrypted=self._encrypted))

    def _begin(self, item: "_Message | _Reasoning | _Call") -> list[Told]:
        told = self.close("completed")
        self._open = item
        return [*told, *item.begin()]


class _Message:
    def __init__(self, id: str, index: int) -> None:
        self._item: Item = {"type": "message", "id": id, "status": "in_progress", "role": "assistant", "content": []}
        self._place = {"item_id": id, "output_index": index, "content_index": 0}
        self.head = _head({"type": "response.output_text.delta", **self._place, "logprobs": []})
        self.texts: list[str] = []
        self._logprobs: list[Told] = []

    def begin(self) -> list[Told]:
        return [
            {"type": "response.output_item.added", "output_index": self._place["output_index"], "item": self._item},
            {"type": "response.content_part.added", **self._place, "part": _text_part("", [])},
        ]

    def add(self, event: TextDelta) -> Told:
        self.texts.append(event.text)
        logprobs = [_logprob(token) for token in event.logprobs]
        self._logprobs += logprobs
        return {"type": "response.output_text.delta", **self._place, "delta": event.text, "logprobs": logprobs}

    def end(self, status: str) -> tuple[list[Told], Item]:
        text = "".join(self.texts)
        part = _text_part(text, self._logprobs)
        told = [
            {"type": "response.output_text.done", **self._place, "text": text, "logprobs": self._logprobs},
            {"type": "response.content_part.done", **self._place, "part": part},
        ]
        return told, {**self._item, "status": status, "content": [part]}


class _Reasoning:
    """Thoughts are told once: as the content, or as the summary if one was asked for."""

    def __init__(self, id: str, index: int, *, summary: bool, encrypted: bool) -> None:
        self._item: Item = {"type": "reasoning", "id": id, "summary": [], "status": "in_progress"}
        kind, where = ("reasoning_summary", "summary_index") if summary else ("content", "content_index")
        self._part_event = f"response.{kind}_part"
        self._text_event = "response.reasoning_summary_text" if summary else "response.reasoning_text"
        self._part_kind = "summary_text" if summary else "reasoning_text"
        self._member = "summary" if summary else "content"
        self._place = {"item_id": id, "output_index": index, where: 0}
        self.head = _head({"type": f"{self._text_event}.delta", **self._place})
        self.texts: list[str] = []
        self._encrypted = encrypted

    def begin(self) -> list[Told]:
        part = {"type": self._part_kind, "text": ""}
        return [
            {"type": "response.output_item.added", "output_index": self._place["output_index"], "item": self._item},
            {"type": f"{self._part_event}.added", **self._place, "part": part},
        ]

    def add(self, text: str) -> Told:
        self.texts.append(text)
        return {"type": f"{self._text_event}.delta", **self._place, "delta": text}

    def end(self, status: str) -> tuple[list[Told], Item]:
        text = "".join(self.texts)
        part = {"type": self._part_kind, "text": text}
        told: list[Told] = [
            {"type": f"{self._text_event}.done", **self._place, "text": text},
            {"type": f"{self._part_event}.done", **self._place, "part": part},
        ]
        item = {**self._item, self._member: [part], "status": status}
        return told, {**item, "encrypted_content": sealed(text)} if self._encrypted else item


class _Call:
    def __init__(self, id: str, index: int, event: ToolCallStart) -> None:
        called = {"call_id": event.id, "name": event.name, "arguments": ""}
        self._item: Item = {"type": "function_call", "id": id, **called, "status": "in_progress"}
        self._place = {"item_id": id, "output_index": index}
        self.head = _head({"type": "response.function_call_arguments.delta", **self._place})
        self.texts: list[str] = []

    def begin(self) -> list[Told]:
        return [{"type": "response.output_item.added", "output_index": self._place["output_index"], "item": self._item}]

    def add(self, delta: str) -> Told:
        self.texts.append(delta)
        return {"type": "response.function_call_arguments.delta", **self._place, "delta": delta}

    def end(self, status: str) -> tuple[list[Told], Item]:
        arguments = "".join(self.texts)
        done = {"type": "response.function_call_arguments.done", **self._place, "name": self._item["name"]}
        return [{**done, "arguments": arguments}], {**self._item, "arguments": arguments, "status": status}


def _head(told: Told) -> bytes:
    """A delta's frame up to its text."""
    return b"event: %b\ndata: %b" % (told["type"].encode(), encode(told)[:-1] + b',"delta":')


def _text_part(text: str, logprobs: list[Told]) -> Told:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def _logprob(token: TokenLogprob) -> Told:
    return {**_alternative(token.chosen), "top_logprobs": [_alternative(other) for other in token.top]}


def _alternative(token: Alternative) -> Told:
    return {"token": token.text, "logprob": token.logprob, "bytes": list(token.bytes)}
