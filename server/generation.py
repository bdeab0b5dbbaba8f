"""The one path that every protocol takes: TextRequest in, events of its sequences out.

Renders the prompt, checks it against the engine's bounds, starts one engine request for each of the n sequences and
merges their events as they come. Knows no wire format. What fails before the first event can still be told as an
HTTP status: `Generation.wait_for_first`.
"""

import asyncio
import copy
import hashlib
import random
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Self

from msgspec import structs

from engine import EngineUnavailable, GenerateRequest, Grammar, Ready, RequestCancelled, RequestRefused, SamplingParams
from server.admission import Admission, Slot
from server.conversation import Conversation, OutputContract, RawPrompt
from server.dialects.dialect import OutputParser
from server.dialects.generic import TextParser
from server.dialects.lark import blamed
from server.engine_port import Engine
from server.errors import InvalidRequest, Unavailable
from server.events import Event, Finished
from server.keys.gate import Passage
from server.metrics import Metrics
from server.prompts import PromptWriter, check_raw
from server.running import Cancellation, Running
from server.sampling import SamplingOverrides, allowed_tokens, check_token_ids, resolve, sequence_seed
from server.sequence import SequenceText
from server.served_model import ServedModel

RETRY_AFTER = 5  # seconds until a loading or restarting engine is worth another try
BEHIND = 1_000_000  # of priority: whatever a request may ask for is ahead of that
EVENTS_AHEAD = 64  # of a request with several sequences, before its slow reader holds them up

NO_MESSAGES = Conversation(())
IndexedEvent = tuple[int, Event]  # which of the n sequences, what


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest:
    """What a protocol asks for: `n` answers to a conversation, or to each of the `raw` prompts (answer p * n + i is
    one to prompt p). `id` is unique; lower `priority` goes first."""

    id: str
    conversation: Conversation = NO_MESSAGES
    raw: tuple[RawPrompt, ...] = ()
    prompt_at: str = "messages"  # the field that the prompt is made of, for errors
    sampling: SamplingOverrides
    contract: OutputContract
    n: int = 1
    priority: int = 0
    cache_salt: str = ""
    size: int = 0  # bytes it came in, all of which may be in its prompt


class Generator:
    """Starts generations. One for each application."""

    def __init__(
        self,
        engine: Engine,
        model: ServedModel,
        admission: Admission,
        metrics: Metrics,
        seed: int | None,
        *,
        constrained: bool = True,
    ) -> None:
        """`seed`: of the seeds drawn for requests without one. `constrained`: whether grammars reach the engine."""
        self._engine = engine
        self._model = model
        self._admission = admission
        self._metrics = metrics
        self._seeds = random.Random(seed)
        self._writer = PromptWriter(model, constrained=constrained)
        self._behind = 0
        self.running = Running()

    def behind(self, admission: Admission) -> "Generator":
        """The same, for requests that go after all others and are counted by an admission of their own."""
        other = copy.copy(self)
        other._admission = admission
        other._behind = BEHIND
        return other

    async def begin(self, request: TextRequest) -> "Generation":
        """Accepts the request or raises: Unavailable, QueueFull, InvalidRequest. The caller closes what it gets."""
        arrival = time.monotonic()
        ready = engine_ready(self._engine)
        passage = Passage.begin(self._metrics.keys)
        try:
            slot = self._admission.enter(request.n * max(1, len(request.raw)), passage.owner)
        except BaseException:
            passage.leave()
            raise
        try:
            prompts, grammar = await self._writer.write(request)
            if request.raw:
                check_raw(prompts, request.prompt_at, ready.vocab_size)
            samplings = [self._sampling(request, len(prompt), ready) for prompt in prompts]
        except BaseException:
            slot.leave()
            passage.leave()
            raise
        passage.spend("prompt", sum(map(len, prompts)))
        cancellation = Cancellation(self._engine)
        sequences: list[AsyncGenerator[IndexedEvent, None]] = []
        for prompt, sampling in zip(prompts, samplings, strict=True):
            self._metrics.prompt(len(prompt))
            for index in range(request.n):
                own = structs.replace(sampling, seed=sequence_seed(sampling.seed, index))
                wanted = GenerateRequest(
                    id=f"{request.id}-{len(sequences)}",
                    prompt=prompt,
                    sampling=own,
                    arrival=arrival + slot.lateness,
                    priority=request.priority + passage.priority + self._behind,
                    cache_salt=request.cache_salt,
                    grammar=grammar,
                )
                sequences.append(self._sequence(request, len(sequences), wanted, cancellation, arrival, passage))
        return Generation(request.id, sequences, (slot, passage), ready, prompts, self.running, cancellation)

    async def prompts(self, request: TextRequest) -> list[list[int]]:
        """The token ids of the request's prompts; nothing is generated. Raises InvalidRequest."""
        prompts, _ = await self._writer.write(request)
        return prompts

    async def count(self, request: TextRequest) -> int:
        """The tokens of the request's prompts; nothing is generated. Raises InvalidRequest."""
        return sum(map(len, await self.prompts(request)))

    def _sampling(self, request: TextRequest, prompt_tokens: int, ready: Ready) -> SamplingParams:
        overrides = request.sampling
        check_token_ids(overrides, self._model.tokenizer, ready.vocab_size)
        cut, param = overrides.cut_max_tokens, request.prompt_at
        max_tokens = allowed_tokens(prompt_tokens, overrides.max_tokens, ready, cut=cut, param=param)
        seed = self._seeds.getrandbits(63) if overrides.seed is None else overrides.seed
        return resolve(overrides, self._model.sampling, self._model.eos_ids, max_tokens, seed)

    async def _sequence(
        self,
        request: TextRequest,
        index: int,
        wanted: GenerateRequest,
        cancellation: Cancellation,
        arrival: float,
        passage: Passage,
    ) -> AsyncGenerator[IndexedEvent, None]:
        """The events of one sequence. Whichever way it ends, the metrics hear of it once."""
        tokenizer, prompt = self._model.tokenizer, wanted.prompt
        parser: OutputParser
        if request.raw:
            parser = TextParser(tokenizer)
        else:
            parser = self._model.dialect.output_parser(request.conversation, request.contract)
        text = SequenceText(parser, request.contract, wanted.sampling, tokenizer, len(prompt), prompt)
        clock = self._metrics.sequence(arrival)
        try:
            cancellation.begin(wanted.id)
            async with aclosing(self._engine.generate(wanted)) as outputs:
                async for output in outputs:
                    clock.step(len(output.token_ids), output.queue_seconds)
                    for event in text.feed(output):
                        if isinstance(event, Finished):
                            clock.reason = event.reason
                            clock.tool_calls = parser.tool_calls
                        yield index, event
                    if text.finished:
                        return
            raise EngineUnavailable("The engine ended the answer without a reason.")
        except RequestRefused as error:
            clock.reason = "error"
            raise _explained(error, wanted.grammar, request) from error
        except RequestCancelled:
            raise
        except Exception:
            clock.reason = "error"
            raise
        finally:
            clock.finish()
            passage.spend("completion", clock.tokens)


def _explained(error: RequestRefused, grammar: Grammar | None, request: TextRequest) -> Exception:
    """A refused grammar is told with the place in the request that it comes from."""
    if error.code != "invalid_grammar" or grammar is None or grammar.source is None:
        return error
    tools = request.contract.may_call(request.conversation.tools)
    param = blamed(grammar.source, str(error), request.contract, tools)
    reason = re.sub(r"^the grammar cannot be used: |(?:\bat )?\b\d+\(\d+\): ", "", str(error))
    return InvalidRequest(f"{param or 'The grammar'} cannot be enforced: {reason}", param=param, code=error.code)


def engine_ready(engine: Engine) -> Ready:
    """What the engine said of itself when it was ready. Raises Unavailable unless it can take requests now."""
    status, ready = engine.status, engine.ready
    if status.state == "ready" and ready is not None:
        return ready
    # Why is for the operator (/health, the log): it may name files.
    if status.state == "loading":
        message = f"The model is still loading ({status.progress:.0%})."
        raise Unavailable(message, retry_after=RETRY_AFTER, code="model_loading")
    raise Unavailable(f"The engine is {status.state}.", retry_after=RETRY_AFTER)


def fingerprint(model: ServedModel, ready: Ready) -> str:
    """Changes when the same seed may give another answer."""
    said = f"{model.folder.name} {ready.architecture} {ready.parameters} {ready.dtype} {ready.device}"
    return "fp_" + hashlib.sha256(said.encode()).hexdigest()[:10]


class Generation:
    """The running sequences of one request. Close it, always: that cancels what still runs and frees its place."""

    def __init__(
        self,
        id: str,
        sequences: Sequence[AsyncGenerator[IndexedEvent, None]],
        places: tuple[Slot, Passage],
        ready: Ready,
        prompts: list[list[int]],
        running: Running,
        cancellation: Cancellation,
    ) -> None:
        self.ready = ready  # the engine, as it was when this began
        self.prompts = prompts  # token ids
        self._id = id
        self._places = places
        self._running = running
        self._cancellation = cancellation
        self._forget: Callable[[], None] | None = None
        self._source = sequences[0] if len(sequences) == 1 else _merge(sequences)
        self._first: asyncio.Task[IndexedEvent] | None = None
        self._first_taken = False

    @property
    def prompt_tokens(self) -> int:
        return sum(map(len, self.prompts))

    def cancellable(self, owner: str, request_id: str) -> None:
        """From now to its end, `owner` can cancel it by its own id or that of the HTTP request."""
        self._forget = self._running.add(owner, (self._id, request_id), self._cancellation.cancel)

    async def wait_for_first(self, timeout: float) -> None:
        """Returns with the first event, or when `timeout` seconds are over. Raises what the sequences raise."""
        self._first = asyncio.ensure_future(anext(self._source))
        await asyncio.wait({self._first}, timeout=timeout)
        if self._first.done():
            self._first.result()

    def __aiter__(self) -> Self:
        """All events, once. Ends after each sequence's Finished."""
        return self

    def __anext__(self) -> Awaitable[IndexedEvent]:
        # Not `async def`: this is called for every token, and another coroutine would only wait for the first.
        if self._first is None or self._first_taken:
            return anext(self._source)
        self._first_taken = True
        return self._first

    async def aclose(self) -> None:
        if self._forget is not None:
            self._forget()
            self._forget = None
        if self._first is not None:
            self._first.cancel()
            await asyncio.wait({self._first})
            if not self._first.cancelled():
                self._first.exception()  # nobody may have been there to hear of it
        try:
            await self._source.aclose()
        finally:
            for place in self._places:
                place.leave()


async def _merge(sequences: Sequence[AsyncGenerator[IndexedEvent, None]]) -> AsyncGenerator[IndexedEvent, None]:
    """Events of several sequences as they come. The first failure ends them all."""
    queue: asyncio.Queue[IndexedEvent | Exception] = asyncio.Queue(EVENTS_AHEAD)

    async def pump(sequence: AsyncGenerator[IndexedEvent, None]) -> None:
        try:
            async with aclosing(sequence):
                async for event in sequence:
                    await queue.put(event)
        except Exception as error:
            await queue.put(error)

    pumps = [asyncio.ensure_future(pump(sequence)) for sequence in sequences]
    try:
        running = len(pumps)
        while running:
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            yield item
            running -= isinstance(item[1], Finished)
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
