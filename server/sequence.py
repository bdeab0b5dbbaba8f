"""SequenceText: the outputs of one sequence become events: what may be sent, log-probabilities with its text, the end.

Synchronous and without a clock; `generation` drives it. A token goes through the dialect's parser (tokens -> text,
reasoning, tool calls) and its text through the stop strings (text -> text that may be sent). It does not decide when a
sequence ends but for stop strings: the engine says so.
"""

from collections import deque
from collections.abc import Sequence

from engine import SamplingParams, StepOutput, TokenLogprobs
from server.conversation import OutputContract
from server.dialects.dialect import OutputParser
from server.events import (
    Alternative,
    Delta,
    Event,
    Finished,
    FinishReason,
    PromptLogprobs,
    TextDelta,
    TokenLogprob,
    Usage,
)
from server.text.stop_strings import StopStrings
from server.text.tokenizer import Tokenizer

LEAST_LOGPROB = -9999.0  # what the API says for "next to impossible"; JSON has no infinity


class SequenceText:
    """State of one sequence. Feed it each StepOutput until `finished`.

    The events do not depend on how outputs were merged on the way, but for where deltas are cut. A stop token
    counts as generated and is not text. Stop strings and log-probabilities are of the text only; `end_logprobs` of the
    contract adds the stop token's.
    """

    def __init__(
        self,
        parser: OutputParser,
        contract: OutputContract,
        sampling: SamplingParams,
        tokenizer: Tokenizer,
        prompt_tokens: int,
        prompt: Sequence[int] = (),
    ) -> None:
        """`prompt`: its token ids, if their log-probabilities are wanted."""
        self.finished = False
        self._prompt_tokens = prompt_tokens
        self._cached_tokens = 0
        self._completion_tokens = 0
        self._parser = parser
        self._stops = StopStrings(contract.stop, contract.include_stop) if contract.stop else None
        self._min_tokens = contract.min_tokens
        self._stop_token_ids = frozenset(sampling.stop_token_ids)
        self._logprobs = _LogprobQueue(tokenizer) if sampling.logprobs is not None else None
        self._end_logprobs = contract.end_logprobs
        self._prompt = _PromptLogprobs(tokenizer, prompt) if sampling.prompt_logprobs is not None else None
        self._pieces: list[str] = []  # text to emit
        self._fed = 0  # characters of text that the parser gave; those sent are a prefix of them
        self._sent = 0

    def feed(self, output: StepOutput) -> list[Event]:
        """The events of a step, or of several that came merged."""
        events: list[Event] = []
        tokens = output.token_ids
        reason = output.finish_reason
        if output.cached_tokens is not None:
            self._cached_tokens = output.cached_tokens
        if self._prompt is not None:
            self._prompt.add(output.prompt_logprobs or ())
            if tokens or reason is not None:  # the prompt is done
                events.append(self._prompt.event())
                self._prompt = None
        if reason == "stop" and not output.whole and tokens and tokens[-1] in self._stop_token_ids:
            tokens = tokens[:-1]
        if self._stops is None and self._logprobs is None:
            self._completion_tokens += len(tokens)
            events += self._parser.feed(tokens)
        else:
            stop = self._feed_each(tokens, output.logprobs, events)
            if stop is not None:
                self._finish("stop", stop, events)
                return events
        if reason is not None:
            self._completion_tokens += len(output.token_ids) - len(tokens)
            if self._end_logprobs and self._logprobs is not None and len(tokens) < len(output.token_ids):
                assert output.logprobs is not None
                self._logprobs.push(self._fed, output.token_ids[-1], output.logprobs[-1])
            self._end(reason, events)
        return events

    def _feed_each(self, tokens: list[int], logprobs: list[TokenLogprobs] | None, events: list[Event]) -> str | None:
        """Token by token: which token completed a stop string decides the usage and what log-probabilities are sent."""
        for index, token in enumerate(tokens):
            self._completion_tokens += 1
            start = self._fed
            deltas = self._parser.feed((token,))
            if self._logprobs is not None and self._parser.in_text:
                assert logprobs is not None, "the engine left out the log-probabilities that were asked for"
                self._logprobs.push(start, token, logprobs[index])
            stop = self._pass_on(deltas, events)
            if stop is not None:
                return stop
        self._emit(events)
        return None

    def _pass_on(self, deltas: list[Delta], events: list[Event]) -> str | None:
        """Takes deltas through the stop strings; the stop string that was met. Text is emitted later, in one piece,
        unless something else comes behind it."""
        for delta in deltas:
            if not isinstance(delta, TextDelta):
                self._pieces.append(self._stops.flush() if self._stops is not None else "")
                self._emit(events)
                events.append(delta)
                continue
            piece, stop = self._pass_stops(delta.text)
            self._pieces.append(piece)
            if stop is not None:
                self._emit(events)
                return stop
        return None

    def _pass_stops(self, text: str) -> tuple[str, str | None]:
        """What of `text` may be sent, and the stop string it completed. Stop strings lie wholly behind the first
        `min_tokens` tokens."""
        self._fed += len(text)
        if self._stops is None or self._completion_tokens <= self._min_tokens:
            return text, None
        return self._stops.feed(text)

    def _emit(self, events: list[Event]) -> None:
        text = "".join(self._pieces)
        self._pieces.clear()
        self._sent += len(text)
        logprobs = self._logprobs.pop_before(self._sent) if self._logprobs is not None else ()
        if text or logprobs:
            events.append(TextDelta(text, logprobs))

    def _end(self, reason: FinishReason, events: list[Event]) -> None:
        """The engine ended the sequence: sends what was held back."""
        deltas = self._parser.flush(cut=reason == "length")
        if self._stops is None and self._logprobs is None:
            events += deltas
            self._finish(reason, None, events)
            return
        stop = self._pass_on(deltas, events)
        if stop is not None:
            self._finish("stop", stop, events)
            return
        self._pieces.append(self._stops.flush() if self._stops is not None else "")
        self._emit(events)
        if self._logprobs is not None and (rest := self._logprobs.pop_before(None)):
            events.append(TextDelta("", rest))
        self._finish(reason, None, events)

    def _finish(self, reason: FinishReason, stop: str | None, events: list[Event]) -> None:
        self.finished = True
        if reason == "stop" and stop is None and self._parser.tool_calls:
            reason = "tool_calls"
        events.append(Finished(reason, self.usage, stop))

    @property
    def usage(self) -> Usage:
        """Tokens so far."""
        thought = self._parser.reasoning_tokens
        return Usage(self._prompt_tokens, self._cached_tokens, self._completion_tokens, thought)


class _LogprobQueue:
    """Log-probabilities that wait for their token's text to be sent.

    text fed   |  The | qu|ick |  <stop string> ...
    token       ^start
    sent       ----------->              a token goes out once a character at or behind its start was sent;
                                         those that begin inside a stop string never do
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._waiting: deque[tuple[int, TokenLogprob]] = deque()

    def push(self, start: int, token_id: int, logprobs: TokenLogprobs) -> None:
        self._waiting.append((start, _named(self._tokenizer, token_id, logprobs, start)))

    def pop_before(self, sent: int | None) -> tuple[TokenLogprob, ...]:
        """Those whose text starts before character `sent`; all of them for None."""
        due = []
        while self._waiting and (sent is None or self._waiting[0][0] < sent):
            due.append(self._waiting.popleft()[1])
        return tuple(due)


class _PromptLogprobs:
    """Collects those of the prompt's tokens behind its first."""

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._found: list[TokenLogprobs] = []

    def add(self, some: Sequence[TokenLogprobs]) -> None:
        self._found += some

    def event(self) -> PromptLogprobs:
        pairs = zip(self._prompt[1:], self._found, strict=True)
        return PromptLogprobs(tuple(_named(self._tokenizer, token_id, logprobs) for token_id, logprobs in pairs))


def _named(tokenizer: Tokenizer, token_id: int, logprobs: TokenLogprobs, start: int = 0) -> TokenLogprob:
    """What the engine says of a token, with texts for ids."""
    top = tuple(_alternative(tokenizer, other, logprob) for other, logprob in logprobs.top)
    return TokenLogprob(_alternative(tokenizer, token_id, logprobs.logprob), top, start)


def _alternative(tokenizer: Tokenizer, token_id: int, logprob: float) -> Alternative:
    data = tokenizer.token_bytes(token_id)
    return Alternative(data.decode("utf-8", errors="replace"), data, max(logprob, LEAST_LOGPROB))
