"""Events become the wire's answer: one JSON object, or the frames of a stream.

A stream's frames differ little: what is constant is encoded once, and each text is spliced in as JSON.

    data: {"id":…,"choices":[{"index":0,"text":  "text"  ,"logprobs":null,"finish_reason":null}]}
    '------------ head, one for each choice ---'          '---------------- tail ---------------'
"""

import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from typing import Any

import msgspec

from server.completions.logprobs import Echo, joined, logprobs_object
from server.errors import ApiError, openai_error
from server.events import Event, Finished, PromptLogprobs, TextDelta, Usage

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
        prompts: int,
        n: int,
        echoes: Sequence[Echo] | None,
        logprobs: bool,
        include_usage: bool,
    ) -> None:
        """`echoes`: what the texts begin with, one for each prompt. `include_usage` is of streams."""
        self._header: dict[str, Any] = {
            "id": id,
            "object": "text_completion",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": fingerprint,
        }
        self._n = n
        self._choices = n * prompts
        self._echoes = echoes
        self._logprobs = logprobs
        self._include_usage = include_usage

    async def whole(self, events: AsyncIterable[tuple[int, Event]]) -> bytes:
        """One object: a stream's events, collected."""
        choices = [_Choice(index, self._echo(index), logprobs=self._logprobs) for index in range(self._choices)]
        async for index, event in events:
            choices[index].add(event)
        usage = self._usage([choice.usage for choice in choices])
        return encode({**self._header, "choices": [choice.body() for choice in choices], "usage": usage})

    async def frames(
        self, events: AsyncIterable[tuple[int, Event]], explain: Callable[[Exception], ApiError]
    ) -> AsyncGenerator[bytes, None]:
        """A stream. What `events` raises is told in it, in the words of `explain`."""
        start = b"data: " + encode(self._header)[:-1] + b',"choices":'
        heads = [start + b'[{"index":%d,"text":' % index for index in range(self._choices)]
        end = (b',"usage":null' if self._include_usage else b"") + b"}\n\n"
        tail = b',"logprobs":null,"finish_reason":null}]' + end
        usages: list[Usage | None] = [None] * self._choices
        if not self._logprobs:  # otherwise the prompts come with theirs
            for index, head in enumerate(heads):
                if text := self._echoed(index):
                    yield head + encode(text) + tail
        try:
            async for index, event in events:
                if isinstance(event, TextDelta) and not self._logprobs:
                    yield heads[index] + encode(event.text) + tail
                elif isinstance(event, Finished):
                    usages[index] = event.usage
                    reason = {"text": "", "logprobs": None, "finish_reason": event.reason}
                    yield start + encode([{"index": index, **reason}]) + end
                elif (body := self._with_logprobs(index, event)) is not None:
                    yield start + encode([{"index": index, **body, "finish_reason": None}]) + end
        except Exception as error:
            yield b"data: " + encode(openai_error(explain(error))) + b"\n\n" + DONE
            return
        if self._include_usage:
            yield start + b'[],"usage":' + encode(self._usage(usages)) + b"}\n\n"
        yield DONE

    def _with_logprobs(self, index: int, event: Event) -> dict[str, Any] | None:
        if isinstance(event, TextDelta):
            logprobs = logprobs_object(event.logprobs, len(self._echoed(index))) if event.logprobs else None
            return {"text": event.text, "logprobs": logprobs}
        echo = self._echo(index)
        if isinstance(event, PromptLogprobs) and echo is not None:
            return {"text": echo.text, "logprobs": echo.logprobs(event.tokens)}
        return None

    def _echo(self, index: int) -> Echo | None:
        return None if self._echoes is None else self._echoes[index // self._n]

    def _echoed(self, index: int) -> str:
        echo = self._echo(index)
        return "" if echo is None else echo.text

    def _usage(self, usages: Sequence[Usage | None]) -> dict[str, Any]:
        """Of all answers. A prompt counts once; cached of it is what was there for each of its answers."""
        ended = [usage for usage in usages if usage is not None]
        assert len(ended) == self._choices, "an answer without an end"
        by_prompt = [ended[first : first + self._n] for first in range(0, self._choices, self._n)]
        prompt = sum(some[0].prompt_tokens for some in by_prompt)
        completion = sum(usage.completion_tokens for usage in ended)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {
                "cached_tokens": sum(min(usage.cached_tokens for usage in some) for some in by_prompt)
            },
        }


class _Choice:
    """One choice of a whole answer, while its events come."""

    def __init__(self, index: int, echo: Echo | None, *, logprobs: bool) -> None:
        self.usage: Usage | None = None
        self._index = index
        self._echo = echo
        self._texts = [] if echo is None else [echo.text]
        self._before = 0 if echo is None else len(echo.text)
        self._logprobs: list[dict[str, Any]] | None = [] if logprobs else None
        self._reason = ""

    def add(self, event: Event) -> None:
        if isinstance(event, TextDelta):
            self._texts.append(event.text)
            if self._logprobs is not None:
                self._logprobs.append(logprobs_object(event.logprobs, self._before))
        elif isinstance(event, Finished):
            self._reason, self.usage = event.reason, event.usage
        elif isinstance(event, PromptLogprobs) and self._echo is not None and self._logprobs is not None:
            self._logprobs.append(self._echo.logprobs(event.tokens))

    def body(self) -> dict[str, Any]:
        return {
            "index": self._index,
            "text": "".join(self._texts),
            "logprobs": None if self._logprobs is None else joined(self._logprobs),
            "finish_reason": self._reason,
        }
