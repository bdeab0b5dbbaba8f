"""Digits in a row: no model goes on with them for ever, and none is kept from those that the grammar wants."""

import json
from pathlib import Path

import pytest
import torch

from engine.grammar import state as state_module
from engine.grammar.compiler import GrammarCompiler
from engine.grammar.state import GrammarState
from engine.grammar.tokens import GrammarTokens, load_grammar_tokens
from engine.messages import Grammar
from engine.runner.grammar_masks import GrammarMasks

TINY = Path(__file__).parents[2] / "data" / "tiny_kimi"
STOP = 3
MAX_DIGITS = 30


@pytest.fixture(autouse=True)
def _few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "MAX_DIGITS", MAX_DIGITS)


@pytest.fixture(scope="module")
def tokens() -> GrammarTokens:
    return load_grammar_tokens(TINY, 1000)


@pytest.fixture(scope="module")
def compiler(tokens: GrammarTokens) -> GrammarCompiler:
    return GrammarCompiler(tokens, tokens.size)


def most_digits(compiler: GrammarCompiler, tokens: GrammarTokens, source: str, stop: tuple[int, ...] = (STOP,)) -> str:
    """What a model says that loves digits above all and ends where it cannot have them."""
    masks = GrammarMasks(tokens.size, torch.device("cpu"))
    compiled = compiler.submit(Grammar(source)).result(60)
    state, said = GrammarState(compiled, [], stop, 0, False), list[int]()
    (nine,) = tokens.library.tokenize_str("9")
    while len(said) < 4 * MAX_DIGITS:
        forbidden_GV, verdicts = masks._compute({0: state})
        if verdicts:
            assert verdicts[0].done, verdicts
            return tokens.library.decode_str(said)
        admitted = [token for token in range(tokens.size) if not forbidden_GV[0, token]]
        token = nine if nine in admitted else STOP if STOP in admitted else admitted[0]
        if token == STOP and state.may_stop:
            return tokens.library.decode_str(said)
        said.append(token)
        state.advance(token)
    raise AssertionError("it goes on for ever")


@pytest.mark.parametrize("schema", [{"type": "number"}, {}, {"type": "array", "items": {"type": "number"}}], ids=str)
def test_numbers_end(compiler: GrammarCompiler, tokens: GrammarTokens, schema: dict[str, object]) -> None:
    source = "start: %json " + json.dumps(schema | {"x-guidance": {"whitespace_flexible": False}})
    if schema.get("type") == "array":
        source = source.replace('"array"', '"array", "maxItems": 1')
    text = most_digits(compiler, tokens, source)
    assert MAX_DIGITS <= sum(map(str.isdigit, text)) <= 3 * MAX_DIGITS  # whole, behind the point, exponent
    json.loads(text, parse_int=str)


def test_it_ends_where_nothing_but_digits_may_follow(compiler: GrammarCompiler, tokens: GrammarTokens) -> None:
    assert most_digits(compiler, tokens, "start: /[0-9]*/") == "9" * MAX_DIGITS
    assert most_digits(compiler, tokens, f"start: /[0-9]{{{MAX_DIGITS + 9},}}/") == "9" * (MAX_DIGITS + 9)


def test_what_must_be_digits_is(compiler: GrammarCompiler, tokens: GrammarTokens) -> None:
    assert most_digits(compiler, tokens, f"start: /[0-9]{{{MAX_DIGITS + 40}}}/") == "9" * (MAX_DIGITS + 40)
    # without a token to stop with, it ends by itself or not at all
    assert most_digits(compiler, tokens, f"start: /[0-9]{{0,{MAX_DIGITS + 40}}}/", stop=()) == "9" * (MAX_DIGITS + 40)


def test_a_replay_counts_alike(compiler: GrammarCompiler, tokens: GrammarTokens) -> None:
    compiled = compiler.submit(Grammar("start: /.*/")).result(60)
    said = tokens.library.tokenize_str("9" * MAX_DIGITS)
    assert GrammarState(compiled, said, (), 0, True).has_digits_enough
    assert not GrammarState(compiled, [*said, *tokens.library.tokenize_str("x9")], (), 0, True).has_digits_enough
