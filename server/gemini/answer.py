"""Events become Google's answer: one object, or the objects of a stream, as server-sent events or as a JSON array.

The objects of a stream differ little: what is constant is encoded once, and each text is spliced in as JSON.

    {"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":  "text"  }]}}],"modelVersion":…}
    '------------------ head, one for each candidate -------------------'          '------ tail ------'

A call is told when it is complete: clients know no parts of one.
"""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from server.errors import ApiError
from server.events import (
    Alternative,
    Event,
    Finished,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallArguments,
    ToolCallEnd,
    ToolCallStart,
    Usage,
)
from server.gemini.errors import google_error
from server.gemini.thoughts import sign

encode = msgspec.json.encode


class Framing(NamedTuple):
    """What stands around the objects of a stream."""

    first: bytes
    before: bytes  # any object but the first
    after: bytes
    last: bytes
    silence: bytes  # what keeps the connection open
    media_type: str


# Google's SDK takes a comment for an object; an empty line is nothing to anybody.
SSE = Framing(b"data: ", b"data: ", b"\n\n", b"", b"\n", "text/event-stream")
ARRAY = Framing(b"[", b",\n", b"", b"]\n", b"\n", "application/json")


class Answer:
    """What is the same in all of a request's answer, and how events become the rest."""

    def __init__(self, *, id: str, model: str, n: int, logprobs: bool, show_thoughts: bool) -> None:
        self._trailer = {"modelVersion": model, "responseId": id}
        self._n = n
        self._logprobs = logprobs
        self._show_thoughts = show_thoughts

    def _candidates(self) -> list["_Candidate"]:
        return [_Candidate(show_thoughts=self._show_thoughts) for _ in range(self._n)]

    async def whole(self, events: AsyncIterable[tuple[int, Event]]) -> bytes:
        """One object: a stream's events, collected."""
        candidates = self._candidates()
        parts: list[list[dict[str, Any]]] = [[] for _ in candidates]
        logprobs: list[list[TokenLogprob]] = [[] for _ in candidates]
        async for index, event in events:
            parts[index] += candidates[index].take(event)
            if isinstance(event, TextDelta):
                logprobs[index].extend(event.logprobs)
        bodies = [
            {**self._candidate(index, _joined(parts[index]), logprobs[index]), **candidate.ending}
            for index, candidate in enumerate(candidates)
        ]
        usage = _usage([candidate.usage for candidate in candidates if candidate.usage is not None])
        return encode({"candidates": bodies, "usageMetadata": usage, **self._trailer})

    async def frames(
        self, events: AsyncIterable[tuple[int, Event]], framing: Framing, explain: Callable[[Exception], ApiError]
    ) -> AsyncGenerator[bytes, None]:
        """A stream. What `events` raises is told in it, in the words of `explain`."""
        candidates = self._candidates()
        heads = [self._head(index) for index in range(self._n)]
        tail = b"}]}}]," + encode(self._trailer)[1:] + framing.after
        thought_tail = b',"thought":true' + tail
        before = framing.first
        try:
            async for index, event in events:
                if isinstance(event, TextDelta) and not self._logprobs:
                    yield before + heads[index] + encode(event.text) + tail
                    before = framing.before
                    continue
                if isinstance(event, ReasoningDelta) and self._show_thoughts:
                    candidates[index].think(event.text)
                    yield before + heads[index] + encode(event.text) + thought_tail
                    before = framing.before
                    continue
                for told in self._told(index, candidates, event):
                    yield before + encode(told) + framing.after
                    before = framing.before
        except Exception as error:
            yield before + encode(google_error(explain(error))) + framing.after
        yield framing.last

    def _head(self, index: int) -> bytes:
        return b'{"candidates":[{"index":%d,"content":{"role":"model","parts":[{"text":' % index

    def _told(self, index: int, candidates: list["_Candidate"], event: Event) -> list[dict[str, Any]]:
        """The objects that tell an event. The last of a candidate has an empty text, since clients want a part in
        each; the very last one has the usage."""
        logprobs = event.logprobs if isinstance(event, TextDelta) else ()
        told = [
            {"candidates": [self._candidate(index, [part], logprobs)], **self._trailer}
            for part in candidates[index].take(event)
        ]
        if isinstance(event, Finished):
            end = {**self._candidate(index, [{"text": ""}], ()), **candidates[index].ending}
            usages = [candidate.usage for candidate in candidates if candidate.usage is not None]
            usage: dict[str, Any] = {"usageMetadata": _usage(usages)} if len(usages) == self._n else {}
            told.append({"candidates": [end], **usage, **self._trailer})
        return told

    def _candidate(self, index: int, parts: list[dict[str, Any]], logprobs: Iterable[TokenLogprob]) -> dict[str, Any]:
        body: dict[str, Any] = {"index": index, "content": {"role": "model", "parts": parts}}
        if self._logprobs and (tokens := list(logprobs)):
            body["logprobsResult"] = _logprobs_object(tokens)
        return body


class _Candidate:
    """One candidate, while its events come: turns each event into the parts that tell it."""

    def __init__(self, *, show_thoughts: bool) -> None:
        self.usage: Usage | None = None
        self.ending: dict[str, Any] = {}
        self._show_thoughts = show_thoughts
        self._thoughts: list[str] = []  # since the last call
        self._call: ToolCallStart | None = None  # the one that is open
        self._arguments: list[str] = []

    def think(self, thought: str) -> None:
        """Keeps it for the call that it may lead to."""
        self._thoughts.append(thought)

    def take(self, event: Event) -> list[dict[str, Any]]:
        """The parts that tell an event."""
        if isinstance(event, TextDelta):
            return [{"text": event.text}]
        if isinstance(event, ReasoningDelta):
            self.think(event.text)
            return [{"text": event.text, "thought": True}] if self._show_thoughts else []
        if isinstance(event, ToolCallStart):
            self._call, self._arguments = event, []
        elif isinstance(event, ToolCallArguments):
            self._arguments.append(event.delta)
        elif isinstance(event, ToolCallEnd):
            return [self._called()]
        elif isinstance(event, Finished):
            self._finish(event)
        return []

    def _called(self) -> dict[str, Any]:
        """The part of the call that ends. It bears the thoughts that led to it."""
        assert self._call is not None
        call = {"id": self._call.id, "name": self._call.name, "args": _arguments("".join(self._arguments))}
        part: dict[str, Any] = {"functionCall": call}
        if self._thoughts:
            part["thoughtSignature"] = sign("".join(self._thoughts))
        self._call, self._thoughts = None, []
        return part

    def _finish(self, event: Finished) -> None:
        self.usage = event.usage
        self.ending = {"finishReason": "MAX_TOKENS" if event.reason == "length" else "STOP"}
        if self._call is not None:
            self.ending["finishMessage"] = f"A call of {self._call.name} was cut and is left out."


def _joined(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A stream's parts as those of a whole answer: pieces of text, and of a thought, become one."""
    found: list[dict[str, Any]] = []
    for kind, pieces in groupby(parts, lambda part: (part.get("thought"), "text" in part)):
        if kind[1]:
            text = {"text": "".join(piece["text"] for piece in pieces)}
            found.append({**text, "thought": True} if kind[0] else text)
        else:
            found += pieces
    return found


def _arguments(text: str) -> Any:
    """What the model wrote. Text that is no object (where constrained decoding is off) becomes the member `arguments`
    of one."""
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        if isinstance(msgspec.json.decode(text or "{}"), dict):
            return msgspec.Raw((text or "{}").encode())
    return {"arguments": text}


def _usage(usages: list[Usage]) -> dict[str, Any]:
    """Of all candidates: the prompt, which they share, counts once; cached is what was there for every one."""
    prompt = usages[0].prompt_tokens
    thoughts = sum(usage.reasoning_tokens for usage in usages)
    completion = sum(usage.completion_tokens for usage in usages)
    found: dict[str, Any] = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": completion - thoughts,
        "totalTokenCount": prompt + completion,
        "cachedContentTokenCount": min(usage.cached_tokens for usage in usages),
        "promptTokensDetails": text_tokens(prompt),
    }
    if thoughts:
        found["thoughtsTokenCount"] = thoughts
    return found


def text_tokens(count: int) -> list[dict[str, Any]]:
    """Tokens by what they stand for, which is text."""
    return [{"modality": "TEXT", "tokenCount": count}]


def _logprobs_object(tokens: list[TokenLogprob]) -> dict[str, Any]:
    return {
        "chosenCandidates": [_alternative(token.chosen) for token in tokens],
        "topCandidates": [{"candidates": [_alternative(other) for other in token.top]} for token in tokens],
    }


def _alternative(token: Alternative) -> dict[str, Any]:
    return {"token": token.text, "logProbability": token.logprob}
