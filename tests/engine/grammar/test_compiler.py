"""Hostile grammars: none takes the engine down, holds up others for long, or takes more memory than is given."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

from engine.client import _error
from engine.errors import EngineUnavailable, RequestRefused
from engine.grammar import automaton as automata
from engine.grammar import compiler as module
from engine.grammar import state as state_module
from engine.grammar.compiler import BUSY, COMPILE_SECONDS, INVALID, CompiledGrammar, GrammarCompiler
from engine.grammar.source import MAX_FORCED_BYTES, MAX_FORCED_WORD
from engine.grammar.state import MAX_FORCED_TOKENS, GrammarState
from engine.grammar.tokens import GrammarTokens, load_grammar_tokens
from engine.grammar.trial import GrammarTrial, OutOfTime
from engine.grammar.waiting import WaitingForGrammar
from engine.messages import GenerateRequest, Grammar, SamplingParams

TINY = Path(__file__).parents[2] / "data" / "tiny_kimi"
BRANCHING = "start: /[ab]*a[ab]{16}/"  # an automaton of 131,072 states, made as they are met


def chain(rules: int) -> str:
    """Each rule refers to the next."""
    return "\n".join(["start: r0", *(f"r{n}: r{n + 1}" for n in range(rules)), f'r{rules}: "b"'])


def quadratic(rules: int) -> str:
    """Each rule may be empty: seconds of work in some kilobytes."""
    return "\n".join(["start: r0", *(f'r{n}: (r{n + 1}){{0,3}} "a"?' for n in range(rules)), f'r{rules}: "b"'])


@pytest.fixture(scope="module")
def tokens() -> GrammarTokens:
    return load_grammar_tokens(TINY, 1000)


@pytest.fixture(scope="module")
def compiler(tokens: GrammarTokens) -> GrammarCompiler:
    return GrammarCompiler(tokens, 1000)


def refusal(compiler: GrammarCompiler, source: str) -> RequestRefused:
    error = compiler.submit(Grammar(source)).exception(60)
    assert isinstance(error, RequestRefused)
    return error


def admitted(state: GrammarState) -> list[int]:
    mask = allocate_token_bitmask(1, state.tokens.size + 1)
    assert state.matcher is not None
    fill_next_token_bitmask(state.matcher, mask)
    assert not state.matcher.is_error()
    found: list[int] = (
        np.unpackbits(mask.view(np.uint8), bitorder="little", count=state.tokens.size).nonzero()[0].tolist()
    )
    return found


def test_rules_behind_rules_need_a_deep_stack_and_have_one(compiler: GrammarCompiler) -> None:
    compiled = compiler.submit(Grammar(chain(5000))).result(60)
    text = compiler.submit(Grammar("start: %json " + json.dumps(_references(3000)))).result(60)
    assert compiled.automaton is not None
    assert text.automaton is not None


def _references(count: int) -> dict[str, object]:
    defs: dict[str, object] = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}]} for n in range(count)}
    return {"$defs": defs | {f"d{count}": {"type": "string"}}, "$ref": "#/$defs/d0"}


def test_what_is_too_large_is_refused_and_remembered(compiler: GrammarCompiler) -> None:
    assert "characters; at most" in str(_at_once(compiler, 'start: "' + "a" * 2**20 + '"'))
    refs = (
        "start: " + " | ".join(f'"a{n}" x{n}' for n in range(40_000)) + "".join(f'\nx{n}: "b"' for n in range(40_000))
    )
    assert refusal(compiler, refs[: 2**20]).code == INVALID
    wrong = "start: nowhere"
    first = refusal(compiler, wrong)
    again = compiler.submit(Grammar(wrong))
    assert again.done()
    assert str(again.exception()) == str(first)


def _at_once(compiler: GrammarCompiler, source: str) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        compiler.submit(Grammar(source))
    return caught.value


def test_what_takes_too_long_is_ended_and_holds_up_nobody(
    tokens: GrammarTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUICK_SECONDS", 0.1)
    monkeypatch.setattr(module, "SLOW_SECONDS", 1.0)
    compiler = GrammarCompiler(tokens, 1000)
    known = Grammar('start: "known"')
    compiler.submit(known).result(60)
    hostile = compiler.submit(Grammar(quadratic(3000)))
    assert compiler.submit(known).done()
    assert compiler.submit(Grammar('start: "new"')).result(60).automaton is not None
    assert not hostile.done()
    assert "takes longer than 1 s" in str(hostile.exception(60))


def test_a_trial_ends_at_its_limit_and_goes_on_after_a_crash(tokens: GrammarTokens) -> None:
    trial = GrammarTrial(tokens.control_names)
    with pytest.raises(OutOfTime):
        trial.run(quadratic(3000), 0.1)
    assert trial.run('start: <|tool_call_begin|> "é"', 1.0) >= 0
    assert trial._process is not None
    trial._process.kill()
    trial._process.wait()
    assert trial.run('start: "a"', 1.0) >= 0


def test_memory_is_bounded(tokens: GrammarTokens) -> None:
    compiler = GrammarCompiler(tokens, 1000, 8 * automata.MIN_BYTES)
    for number in range(12):
        compiler.submit(Grammar(f'start: "a{number}"')).result(60)
        assert compiler.live_bytes <= 8 * automata.MIN_BYTES
    assert compiler.submit(Grammar('start: "a11"')).done()  # kept
    in_use = [compiler.submit(Grammar(f'start: "b{number}"')).result(60) for number in range(8)]
    busy = refusal(compiler, 'start: "c"')
    assert busy.code == BUSY
    del in_use[0]
    assert compiler.submit(Grammar('start: "c"')).result(60).automaton is not None
    assert compiler.live_bytes <= 8 * automata.MIN_BYTES


def test_one_grammar_gets_a_part_of_the_memory(tokens: GrammarTokens) -> None:
    compiler = GrammarCompiler(tokens, 1000, 4 * 2**20)
    wide = "start: " + " | ".join(f'"w{number * 7919}"' for number in range(8000))
    assert "at most 1 MiB are given to one" in str(refusal(compiler, wide))


def test_an_automaton_that_grew_is_replaced_under_its_request(
    tokens: GrammarTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_module, "MASKS_BETWEEN_MEASURES", 8)
    monkeypatch.setattr(automata, "MAX_GROWTH", 2**18)
    compiler = GrammarCompiler(tokens, 1000)
    compiled = compiler.submit(Grammar(BRANCHING)).result(60)
    state, rng, text, used = GrammarState(compiled, [], (), 0, False), random.Random(0), "", [compiled.automaton]
    while len(text) < 1000:
        token = rng.choice(admitted(state))
        text += tokens.library.decode_str([token])
        assert state.advance(token) is None
        state.count_mask()
        state.refresh()
        if state._fresh is not None:
            state._fresh.exception(60)
            state.refresh()
        if state.automaton is not used[-1]:
            used.append(state.automaton)
    assert len(used) > 2
    assert set(text) == {"a", "b"}
    assert all(one.grown_bytes - one.needed_bytes < 2**20 for one in used if one is not None)


def walked(compiled: CompiledGrammar, forcing: bool) -> tuple[str, list[int]]:
    """What comes of always taking the first admitted token, and how many tokens were forced at once."""
    state, output, forced = GrammarState(compiled, [], (), 0, forcing), list[int](), []
    while True:
        token = admitted(state)[0]
        follows = state.advance(token)
        output.append(token)
        if follows is not None:
            assert follows.error is None
            output += follows.forced
            forced.append(len(follows.forced))
            if follows.done:
                return state.tokens.library.decode_str(output), forced


def test_forced_tokens_are_bounded_in_a_step(compiler: GrammarCompiler) -> None:
    text = " ".join(f"word {number}," for number in range(400))
    compiled = compiler.submit(Grammar("start: " + json.dumps(text))).result(60)
    forced_text, forced = walked(compiled, forcing=True)
    assert forced_text == text
    assert max(forced) == MAX_FORCED_TOKENS
    assert len(forced) > 2


def test_constants_too_long_to_handle_are_refused(compiler: GrammarCompiler) -> None:
    assert "no choice" in str(refusal(compiler, "start: " + json.dumps("a " * MAX_FORCED_BYTES)))
    assert "a word of more" in str(refusal(compiler, "start: " + json.dumps("a" * (MAX_FORCED_WORD + 1))))
    assert compiler.submit(Grammar("start: " + json.dumps("ab " * 3000))).result(60)


def test_waiting_for_others_counts(tokens: GrammarTokens) -> None:
    now = 0.0
    waiting = WaitingForGrammar(GrammarCompiler(tokens, 1000), lambda: now)
    for number in range(20):
        request = GenerateRequest(
            f"r{number}", [0], SamplingParams(max_tokens=1), 0.0, grammar=Grammar(quadratic(800 + number))
        )
        waiting.add(request)
    assert not waiting.any_ready()
    now = COMPILE_SECONDS
    refused = [outcome for _, outcome in waiting.take() if isinstance(outcome, RequestRefused)]
    assert len(refused) == 20
    assert {outcome.code for outcome in refused} == {BUSY}
    assert len(waiting) == 0


def test_a_busy_engine_is_no_fault_of_the_request() -> None:
    error = _error(BUSY, "try again later")
    assert isinstance(error, EngineUnavailable)
    assert error.retry_after > 0
