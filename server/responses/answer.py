"""Events become the response: whole, or told piece by piece in the events of a stream. Both are made by the same steps,
so that they are equal."""

import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import Any

import msgspec

from server.errors import ApiError, Cancelled, InvalidRequest, QueueFull
from server.events import Event, Finished, Usage
from server.responses.output import Output, Told

ACTIVE = ("queued", "in_progress")
TERMINAL = ("response.completed", "response.incomplete", "response.failed")
encode = msgspec.json.encode


class Answer:
    """One response while it is made. `response` is always as it is at the moment."""

    def __init__(self, response: dict[str, Any], output: Output) -> None:
        self.response = response
        self.quick = output.quick
        self._output = output

    @property
    def over(self) -> bool:
        return self.response["status"] not in ACTIVE

    def created(self) -> Told:
        return self._lifecycle("response.created")

    def queued(self) -> Told:
        return self._lifecycle("response.queued")

    def begun(self) -> Told:
        self._change(status="in_progress")
        return self._lifecycle("response.in_progress")

    def feed(self, event: Event) -> list[Told]:
        """What is to be told of an event. After the last, the response is over, which `ended` tells."""
        if not isinstance(event, Finished):
            return self._output.feed(event)
        cut = event.reason == "length"
        told = self._output.finish(cut=cut)
        self._change(output=self._output.items, usage=_usage(event.usage))
        if cut:
            self._change(status="incomplete", incomplete_details={"reason": "max_output_tokens"})
        else:
            self._change(status="completed", completed_at=int(time.time()))
        return told

    def fail(self, error: ApiError) -> list[Told]:
        """The response ends with an error; what was said before it stays."""
        told = self._output.close("incomplete")
        failure = {"code": _error_code(error), "message": error.message}
        self._change(status="failed", error=failure, output=self._output.items, completed_at=None)
        return told

    def cancel(self) -> list[Told]:
        """The response ends because its client wants no more of it."""
        told = self._output.close("incomplete")
        self._change(status="cancelled", output=self._output.items)
        return told

    def not_kept(self) -> None:
        self._change(store=False)

    def ended(self) -> Told:
        """What is told last. There is no event of its own for a response that was cancelled."""
        status = self.response["status"]
        return self._lifecycle(f"response.{'incomplete' if status == 'cancelled' else status}")

    def _change(self, **members: Any) -> None:
        """As a new object: what was told of the one before stays as it was told."""
        self.response = {**self.response, **members}

    def _lifecycle(self, kind: str) -> Told:
        return {"type": kind, "response": self.response}


Keep = Callable[[dict[str, Any]], Awaitable[None]]  # stores a response that is over, if it is to be stored


async def whole(answer: Answer, events: AsyncIterable[tuple[int, Event]], keep: Keep) -> bytes:
    """The response as one object."""
    answer.begun()
    async for _, event in events:
        answer.feed(event)
    await keep(answer.response)
    return encode(answer.response)


async def frames(
    answer: Answer, events: AsyncIterable[tuple[int, Event]], keep: Keep, explain: Callable[[Exception], ApiError]
) -> AsyncGenerator[bytes, None]:
    """The response as a stream. It is stored before its end is told. What `events` raises is told in it, in the words
    of `explain`."""
    number = 0
    for told in (answer.created(), answer.begun()):
        yield frame(told, number)
        number += 1
    try:
        async for _, event in events:
            if (quick := answer.quick(event)) is not None:
                yield quick + b',"sequence_number":%d}\n\n' % number
                number += 1
                continue
            for told in answer.feed(event):
                yield frame(told, number)
                number += 1
        await keep(answer.response)
    except Exception as error:
        for told in await _cut_off(answer, explain(error), keep):
            yield frame(told, number)
            number += 1
    yield frame(answer.ended(), number)


async def _cut_off(answer: Answer, error: ApiError, keep: Keep) -> list[Told]:
    """A failure is kept as well, since the client knows the response's id; unless it is the keeping that failed."""
    unkept = answer.over
    told = answer.cancel() if isinstance(error, Cancelled) else answer.fail(error)
    if not unkept:
        try:
            await keep(answer.response)
        except ApiError:
            unkept = True
    if unkept:
        answer.not_kept()
    return told


def frame(told: Told, number: int) -> bytes:
    """An event of the stream, on the wire."""
    kind: str = told["type"]
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode({**told, "sequence_number": number}))


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _error_code(error: ApiError) -> str:
    """One of the few words that the specification has."""
    if isinstance(error, InvalidRequest):
        return "invalid_prompt"
    return "rate_limit_exceeded" if isinstance(error, QueueFull) else "server_error"
