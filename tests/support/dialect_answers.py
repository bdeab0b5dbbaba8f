"""What a client makes of a dialect's output, with the checks that hold for every family; and walks through grammars."""

import itertools
import random
from collections.abc import Sequence
from typing import Any

from llguidance import LLMatcher

from engine import Grammar, SamplingParams, StepOutput
from engine.grammar.compiler import GrammarCompiler
from server.conversation import OutputContract
from server.dialects.dialect import OutputParser
from server.events import Event, Finished, ReasoningDelta, TextDelta, ToolCallEnd, ToolCallStart
from server.sequence import SequenceText
from server.text.tokenizer import Tokenizer


def read_answer(
    parser: OutputParser,
    tokenizer: Tokenizer,
    token_ids: Sequence[int],
    *,
    stop: int,
    cuts: Sequence[int] = (),
    reason: Any = "stop",
    contract: OutputContract | None = None,
) -> dict[str, Any]:
    """The gathered events of one sequence, which comes in pieces that end at `cuts`. `stop`: the token that ends it."""
    sampling = SamplingParams(max_tokens=10_000, stop_token_ids=(stop,))
    text = SequenceText(parser, contract or OutputContract(), sampling, tokenizer, 1)
    whole = [*token_ids, stop] if reason == "stop" else list(token_ids)
    borders = [0, *sorted({cut for cut in cuts if 0 < cut < len(whole)}), len(whole)]
    events: list[Event] = []
    for start, end in itertools.pairwise(borders):
        last = end == len(whole)
        events += text.feed(StepOutput("x", whole[start:end], reason if last else None))
    return gathered(events)


def gathered(events: list[Event]) -> dict[str, Any]:
    """Text, reasoning and calls, joined; after checking that events come in order and none says nothing."""
    answer: dict[str, Any] = {"text": "", "reasoning": "", "calls": []}
    *deltas, finished = events
    assert isinstance(finished, Finished)
    for delta in deltas:
        if isinstance(delta, TextDelta):
            assert delta.text
            assert not answer["calls"], "text behind calls"
            answer["text"] += delta.text
        elif isinstance(delta, ReasoningDelta):
            assert delta.text
            answer["reasoning"] += delta.text
        elif isinstance(delta, ToolCallStart):
            assert delta.index == len(answer["calls"])
            assert all(call["complete"] for call in answer["calls"])
            answer["calls"].append({"id": delta.id, "name": delta.name, "arguments": "", "complete": False})
        else:
            assert not isinstance(delta, Finished), "two ends"
            call = answer["calls"][delta.index]
            assert delta.index == len(answer["calls"]) - 1
            assert not call["complete"]
            if isinstance(delta, ToolCallEnd):
                call["complete"] = True
            else:
                assert delta.delta
                call["arguments"] += delta.delta
    return answer | {"reason": finished.reason, "usage": finished.usage}


def without_ids(answer: dict[str, Any]) -> dict[str, Any]:
    """For families whose ids are random: they are unlike one another, and are left out of comparisons."""
    ids = [call["id"] for call in answer["calls"]]
    assert len(set(ids)) == len(ids)
    return answer | {"calls": [{key: value for key, value in call.items() if key != "id"} for call in answer["calls"]]}


def matcher_of(compiler: GrammarCompiler, grammar: Grammar) -> LLMatcher:
    """A fresh matcher, as a request gets it."""
    automaton = compiler.submit(grammar).result(20).automaton
    assert automaton is not None
    return automaton.matcher.deep_copy()


def walk(
    compiler: GrammarCompiler, tokenizer: Tokenizer, grammar: Grammar, seed: int, first: Sequence[int] = ()
) -> list[int]:
    """Random tokens that the grammar admits, behind those of `first`, until it matches and a coin says stop."""
    rng, matcher, said = random.Random(seed), matcher_of(compiler, grammar), []
    for token in first:
        assert matcher.consume_token(token), token
        said.append(token)
    while not matcher.is_stopped() and not (matcher.is_accepting() and rng.random() < 0.5):
        mask = matcher.compute_bitmask()
        admitted = [token for token in range(tokenizer.vocab_size) if mask[token // 8] >> token % 8 & 1]
        if not admitted:
            assert matcher.is_accepting()
            break
        # short strings: mostly a quote as soon as there may be one
        ends = [token for token in admitted if tokenizer.token_bytes(token)[:1] in (b'"', b"}", b"<")]
        said.append(rng.choice(ends if ends and said and rng.random() < 0.7 else admitted))
        assert matcher.consume_token(said[-1])
        assert len(said) < 3000
    return said
