"""Strings that no schema bounds: no model goes on with one for ever."""

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
MAX_STRING = 40
OBJECT = {
    "type": "object",
    "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}


@pytest.fixture(autouse=True)
def _short_strings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "MAX_STRING", MAX_STRING)


@pytest.fixture(scope="module")
def tokens() -> GrammarTokens:
    return load_grammar_tokens(TINY, 1000)


def said(tokens: GrammarTokens, source: str, loved: str, most: int = 400) -> str | None:
    """What a model says that goes round in the tokens of `loved`, and takes the first that it may where it must not.
    None: it goes on for ever."""
    masks, compiler = GrammarMasks(tokens.size, torch.device("cpu")), GrammarCompiler(tokens, tokens.size)
    state, out = GrammarState(compiler.submit(Grammar(source)).result(60), [], (), 0, False), list[int]()
    circle = tokens.library.tokenize_str(loved)
    while len(out) < most:
        forbidden_GV, verdicts = masks._compute({0: state})
        if verdicts:
            assert verdicts[0].done, verdicts
            return tokens.library.decode_str(out)
        admitted = [token for token in range(tokens.size) if not forbidden_GV[0, token]]
        wanted = circle[len(out) % len(circle)]
        out.append(wanted if wanted in admitted else admitted[0])
        state.advance(out[-1])
    return None


@pytest.mark.parametrize("loved", ["x", '\\"', "\\\\", "é", " "], ids=["x", "quote", "backslash", "é", "blank"])
def test_strings_end(tokens: GrammarTokens, loved: str) -> None:
    source = "start: %json " + json.dumps(OBJECT | {"x-guidance": {"whitespace_flexible": False}})
    text = said(tokens, source, loved)
    assert text is not None
    values = json.loads(text).values()
    assert all(len(value.encode()) <= 2 * MAX_STRING for value in values)
    assert any(values)


def test_a_string_that_the_schema_wants_longer_is_not_cut(tokens: GrammarTokens) -> None:
    schema = {"type": "string", "minLength": 3 * MAX_STRING, "maxLength": 3 * MAX_STRING}
    text = said(tokens, "start: %json " + json.dumps(schema), "x")
    assert text is not None
    assert len(json.loads(text)) == 3 * MAX_STRING


def test_text_that_is_not_json_has_no_limit(tokens: GrammarTokens) -> None:
    assert said(tokens, "start: /[\\s\\S]*/", "x") is None
