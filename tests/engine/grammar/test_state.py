"""One request's way through its grammar, without an engine: replays, control tokens, both kinds of tokenizer."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask
from tokenizers import decoders, models, pre_tokenizers, trainers

from engine.errors import ConfigError, RequestRefused
from engine.grammar.compiler import CompiledGrammar, GrammarCompiler
from engine.grammar.state import GrammarState
from engine.grammar.tokens import GrammarTokens, load_grammar_tokens
from engine.messages import Grammar

DATA = Path(__file__).parents[2] / "data"
SOURCE = 'start: <|tool_call_begin|> %json {"type": "array", "items": {"enum": ["one", "two", 3]}, "maxItems": 4}'


@pytest.fixture(scope="module", params=["kimi", "huggingface"])
def tokens(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GrammarTokens:
    if request.param == "kimi":
        return load_grammar_tokens(DATA / "tiny_kimi", 1000)
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([(DATA / "kimi_k2" / "golden.json").read_text(encoding="utf-8")], trainer)
    names = ["<|tool_call_begin|>", "<|im_end|>", "<think>", "<｜tool▁calls▁begin｜>"]
    tokenizer.add_tokens([tokenizers.AddedToken(name, normalized=False) for name in names])
    folder = tmp_path_factory.mktemp("huggingface")
    description = json.loads(tokenizer.to_str())
    description["added_tokens"][-1]["id"] += 7  # a hole: ids that no token has
    (folder / "tokenizer.json").write_text(json.dumps(description))
    return load_grammar_tokens(folder, 1000)


def compiled(tokens: GrammarTokens, grammar: Grammar | str) -> CompiledGrammar:
    compiler = GrammarCompiler(tokens, 1000)
    return compiler.submit(Grammar(grammar) if isinstance(grammar, str) else grammar).result(20)


def admitted(state: GrammarState) -> list[int]:
    mask = allocate_token_bitmask(1, state.tokens.size + 1)
    assert state.matcher is not None
    fill_next_token_bitmask(state.matcher, mask)
    return np.unpackbits(mask.view(np.uint8), bitorder="little", count=state.tokens.size).nonzero()[0].tolist()


def walk(state: GrammarState, rng: random.Random) -> list[int]:
    output: list[int] = []
    while True:
        token = rng.choice(admitted(state))
        follows = state.advance(token)
        output.append(token)
        if follows is not None:
            assert follows.error is None
            output += follows.forced
            if follows.done:
                return output


@pytest.mark.parametrize("forcing", [True, False])
def test_a_random_walk_matches_and_its_replay_stands_at_the_same_place(tokens: GrammarTokens, forcing: bool) -> None:
    grammar = compiled(tokens, SOURCE)
    for seed in range(20):
        output = walk(GrammarState(grammar, [], (), 0, forcing), random.Random(seed))
        text = tokens.library.decode_str(output)
        head = "<|tool_call_begin|>"
        assert text.startswith(head)
        assert set(json.loads(text.removeprefix(head))) <= {"one", "two", 3}
        assert GrammarState(grammar, output, (), 0, forcing).matcher.is_stopped()
        cut = random.Random(seed).randrange(len(output))
        replayed, stepwise = GrammarState(grammar, output[:cut], (), 0, False), GrammarState(grammar, [], (), 0, False)
        for token in output[:cut]:
            stepwise.advance(token)
        assert admitted(replayed) == admitted(stepwise)
        assert output[cut] in admitted(replayed)


def test_text_never_matches_or_forces_a_control_token(tokens: GrammarTokens) -> None:
    names = ["<|tool_call_begin|>", "<|im_end|>"]
    grammar = compiled(tokens, "start: %json " + json.dumps({"const": " ".join(names)}))
    output = walk(GrammarState(grammar, [], (), 0, True), random.Random(0))
    assert json.loads(tokens.library.decode_str(output)) == " ".join(names)
    assert not any(tokens.library.is_special_token(token) for token in output)
    anything = GrammarState(compiled(tokens, r"start: /(.|\n)*/"), [], (), 0, True)
    free = admitted(anything)
    assert len(free) >= 256
    assert not any(tokens.library.is_special_token(token) for token in free)


def test_a_grammar_waits_for_its_beginning(tokens: GrammarTokens) -> None:
    control, *_ = admitted(GrammarState(compiled(tokens, SOURCE), [], (), 0, False))
    state = GrammarState(compiled(tokens, Grammar(SOURCE, begin_with=(control,), forbidden=(7,))), [], (), 0, True)
    assert state.forbidden == [7]
    assert state.advance(5) is None
    assert state.matcher is None
    state.advance(control)
    assert state.matcher is not None
    assert state.forbidden == []
    assert control not in admitted(state)
    behind = GrammarState(compiled(tokens, Grammar(SOURCE, begin_after=(5,))), [], (), 0, True)
    follows = behind.advance(5)
    assert follows is not None
    assert follows.forced[0] == control


def test_a_token_against_the_grammar_is_an_error_and_the_grammar_is_compiled_anew(tokens: GrammarTokens) -> None:
    compiler = GrammarCompiler(tokens, 1000)
    first = compiler.submit(Grammar(SOURCE)).result(20)
    assert compiler.submit(Grammar(SOURCE)).result(20).automaton is first.automaton
    follows = GrammarState(first, [], (), 0, True).advance(0)
    assert follows is not None
    assert follows.error is not None
    assert compiler.submit(Grammar(SOURCE)).result(20).automaton is not first.automaton


def test_an_engine_without_a_vocabulary_takes_no_grammars(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no tokenizer"):
        load_grammar_tokens(tmp_path, 1000)
    with pytest.raises(ConfigError, match="768 tokens, but the model only 500"):
        load_grammar_tokens(DATA / "tiny_kimi", 500)
    compiler = GrammarCompiler("no tokenizer", 1000)
    with pytest.raises(RequestRefused, match="no tokenizer"):
        compiler.submit(Grammar('start: "a"'))
    assert compiler.submit(Grammar(None, forbidden=(3,))).result(20).automaton is None
