"""SequenceText against a plain oracle, over random texts, cuts and stop strings."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.served import load_model

from engine import SamplingParams, StepOutput, TokenLogprobs
from server.conversation import Conversation, OutputContract
from server.dialects.dialect import OutputParser
from server.dialects.kimi_tokens import KimiTokens
from server.events import Event, Finished, TextDelta
from server.sequence import LEAST_LOGPROB, SequenceText
from server.text.detokenizer import Detokenizer

MODEL = load_model()
TOKENIZER = MODEL.tokenizer
END = TOKENIZER.control_tokens["<|im_end|>"]
TEXT = st.text(st.sampled_from("ab 界🦀é"), max_size=24)
STOPS = st.lists(st.text(st.sampled_from("ab界"), min_size=1, max_size=3), max_size=3)


def parser() -> OutputParser:
    return MODEL.dialect.output_parser(Conversation(()), OutputContract())


def run(
    token_ids: list[int], cuts: list[int], reason: Any, contract: OutputContract, logprobs: int | None
) -> list[Event]:
    """The events of a sequence whose tokens come in pieces that end at `cuts`."""
    sampling = SamplingParams(max_tokens=100, stop_token_ids=(END,), logprobs=logprobs)
    text = SequenceText(parser(), contract, sampling, TOKENIZER, 5)
    events: list[Event] = []
    borders = [0, *sorted(set(cuts) & set(range(1, len(token_ids)))), len(token_ids)]
    for start, end in itertools.pairwise(borders):
        part = token_ids[start:end]
        entries = [TokenLogprobs(-1.0, []) for _ in part] if logprobs is not None else None
        output = StepOutput("x", part, reason if end == len(token_ids) else None, logprobs=entries)
        if start == 0:
            output.cached_tokens = 3
        events += text.feed(output)
        if text.finished:
            break
    return events


def joined(events: list[Event]) -> tuple[str, bytes, Finished]:
    *deltas, finished = events
    assert isinstance(finished, Finished)
    assert all(isinstance(delta, TextDelta) and (delta.text or delta.logprobs) for delta in deltas)
    logprobs = b"".join(token.chosen.bytes for delta in deltas for token in delta.logprobs)  # type: ignore[union-attr]
    return "".join(delta.text for delta in deltas), logprobs, finished  # type: ignore[union-attr]


def first_stop(tokens: list[int], stops: list[str], min_tokens: int) -> tuple[int, str, str] | None:
    """Oracle: (tokens up to the one that completes a stop string, the text before it, the stop string)."""
    detokenizer = Detokenizer(TOKENIZER)
    free = searched = ""
    for count, token in enumerate(tokens, 1):
        piece = detokenizer.feed([token])
        if count <= min_tokens:
            free += piece
            continue
        for end in range(len(searched) + 1, len(searched) + len(piece) + 1):
            whole = (searched + piece)[:end]
            met = [stop for stop in sorted(stops, key=len, reverse=True) if whole.endswith(stop)]
            if met:
                return count, free + whole[: -len(met[0])], met[0]
        searched += piece
    return None


@given(TEXT, STOPS, st.lists(st.integers(1, 60)), st.integers(0, 12), st.booleans(), st.booleans())
def test_stop_strings_against_an_oracle(
    text: str, stops: list[str], cuts: list[int], min_tokens: int, include: bool, with_logprobs: bool
) -> None:
    tokens = TOKENIZER.encode(text)
    contract = OutputContract(stop=tuple(stops), include_stop=include, min_tokens=min_tokens)
    events = run([*tokens, END], cuts, "stop", contract, 0 if with_logprobs else None)
    said, logprobs, finished = joined(events)
    stopped = first_stop(tokens, stops, min_tokens) if stops else None
    if stopped is None:
        assert (said, finished.stop_string) == (text, None)
        assert finished.usage.completion_tokens == len(tokens) + 1
    else:
        count, before, stop = stopped
        assert said == before + (stop if include else "")
        assert (finished.reason, finished.stop_string) == ("stop", stop)
        assert finished.usage.completion_tokens == count
    if with_logprobs:  # those of all tokens that begin before the end of what was said
        assert logprobs.startswith(said.encode())
        assert text.encode().startswith(logprobs)


@given(TEXT, STOPS, st.lists(st.integers(1, 60)), st.lists(st.integers(1, 60)), st.integers(0, 8))
def test_where_outputs_are_cut_does_not_matter(
    text: str, stops: list[str], some: list[int], others: list[int], min_tokens: int
) -> None:
    tokens = [*TOKENIZER.encode(text), END]
    contract = OutputContract(stop=tuple(stops), min_tokens=min_tokens)
    assert joined(run(tokens, some, "stop", contract, 0)) == joined(run(tokens, others, "stop", contract, 0))
    plain, _, finished = joined(run(tokens, some, "stop", contract, None))
    assert (plain, finished) == joined(run(tokens, others, "stop", contract, 0))[::2]


MARKERS = KimiTokens.of(TOKENIZER.control_tokens).markers
NO_MARKER = st.integers(0, TOKENIZER.vocab_size - 1).filter(lambda token: token not in MARKERS)


@given(st.lists(NO_MARKER, min_size=1, max_size=12), st.lists(st.integers(1, 12)))
def test_any_tokens_become_what_they_decode_to(tokens: list[int], cuts: list[int]) -> None:
    detokenizer = Detokenizer(TOKENIZER)
    said, logprobs, finished = joined(run(tokens, cuts, "length", OutputContract(), 0))
    assert said == detokenizer.feed(tokens) + detokenizer.flush()
    assert finished.reason == "length"
    assert finished.usage.completion_tokens == len(tokens)
    assert logprobs == b"".join(map(TOKENIZER.token_bytes, tokens))


def test_a_stop_token_counts_and_is_no_text() -> None:
    sampling = SamplingParams(max_tokens=9, stop_token_ids=(66,))
    text = SequenceText(parser(), OutputContract(), sampling, TOKENIZER, 5)
    *deltas, finished = text.feed(StepOutput("x", [65, 66, 66], "stop", cached_tokens=2))
    assert [delta.text for delta in deltas] == [  # type: ignore[union-attr]
        (TOKENIZER.token_bytes(65) + TOKENIZER.token_bytes(66)).decode()
    ]
    assert isinstance(finished, Finished)
    assert (finished.usage.prompt_tokens, finished.usage.cached_tokens, finished.usage.completion_tokens) == (5, 2, 3)


def test_a_stop_token_that_a_grammar_ends_with_is_text() -> None:
    sampling = SamplingParams(max_tokens=9, stop_token_ids=(66,))
    text = SequenceText(parser(), OutputContract(), sampling, TOKENIZER, 5)
    delta, finished = text.feed(StepOutput("x", [65, 66], "stop", cached_tokens=0, whole=True))
    assert isinstance(delta, TextDelta)
    assert delta.text == (TOKENIZER.token_bytes(65) + TOKENIZER.token_bytes(66)).decode()
    assert isinstance(finished, Finished)
    assert finished.usage.completion_tokens == 2


@pytest.mark.parametrize(("given", "told"), [(-0.5, -0.5), (float("-inf"), LEAST_LOGPROB), (-1e6, LEAST_LOGPROB)])
def test_logprobs_are_numbers_that_json_has(given: float, told: float) -> None:
    sampling = SamplingParams(max_tokens=9, logprobs=1)
    text = SequenceText(parser(), OutputContract(), sampling, TOKENIZER, 5)
    output = StepOutput("x", [65], "length", logprobs=[TokenLogprobs(given, [(66, given)])])
    delta = text.feed(output)[0]
    assert isinstance(delta, TextDelta)
    assert delta.logprobs[0].chosen.logprob == told
    assert delta.logprobs[0].top[0].logprob == told
