"""What Apertus' output must match: random walks keep every promise, and what the template writes of earlier calls is
admitted and read back."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.dialect_answers import matcher_of, read_answer, walk
from support.dialect_checkpoints import DATA, apertus

from engine import Grammar
from engine.grammar.compiler import GrammarCompiler
from engine.grammar.state import GrammarState
from engine.grammar.tokens import load_grammar_tokens
from server.conversation import AnswerFormat, Conversation, Message, OutputContract, Tool, ToolCall, ToolChoice

TEMPLATE = (DATA / "apertus" / "chat_template.jinja").read_text("utf-8")
CITY = {"type": "object", "properties": {"city": {"enum": ["Rome", "Zürich"]}}, "required": ["city"]}
CITY |= {"additionalProperties": False}
TOOLS = (
    Tool("get_weather", parameters=CITY),
    Tool("a-b.c_d", parameters={"type": "object", "properties": {}, "additionalProperties": False}),
    Tool("für:x", parameters={"type": "object", "properties": {"n": {"type": "boolean"}}, "required": ["n"]}),
)
NAMES = {tool.name for tool in TOOLS}
ASKED = Conversation((Message("user", "x"),), TOOLS)
THINKING = Conversation(ASKED.messages, TOOLS, reasoning=True)
REQUIRED = OutputContract(tool_choice=ToolChoice("required"))
COLOUR = OutputContract(format=AnswerFormat("choice", choices=("red", "blue"), where="guided_choice"))


class Checkpoint:
    """A checkpoint and what its grammars are compiled with."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer, self.dialect = apertus(folder, TEMPLATE)
        self.control = self.tokenizer.control_tokens
        size = self.tokenizer.vocab_size
        self.compiler = GrammarCompiler(load_grammar_tokens(folder, size), size)

    def walk(self, grammar: Grammar, seed: int, first: list[int] | None = None) -> list[int]:
        return walk(self.compiler, self.tokenizer, grammar, seed, first or [])

    def read(self, token_ids: list[int], contract: OutputContract) -> dict[str, Any]:
        parser = self.dialect.output_parser(ASKED, contract)
        return read_answer(parser, self.tokenizer, token_ids, stop=self.control["<|assistant_end|>"])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return Checkpoint(tmp_path_factory.mktemp("checkpoint"))


def check_calls(answer: dict[str, Any], names: set[str]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schemas = {tool.name: tool.parameters for tool in TOOLS}
    for call in answer["calls"]:
        assert call["name"] in names
        jsonschema.validate(json.loads(call["arguments"]), schemas[call["name"]])


CHOICES: dict[str, tuple[OutputContract, set[str]]] = {
    "required": (REQUIRED, NAMES),
    "one call": (OutputContract(tool_choice=ToolChoice("required"), parallel_tool_calls=False), NAMES),
    "named": (OutputContract(tool_choice=ToolChoice("required", ("für:x",))), {"für:x"}),
    "allowed": (OutputContract(tool_choice=ToolChoice("required", ("für:x", "a-b.c_d"))), {"für:x", "a-b.c_d"}),
}


@pytest.mark.parametrize("case", CHOICES)
def test_forced_calls(case: str, served: Checkpoint) -> None:
    contract, names = CHOICES[case]
    grammar = served.dialect.grammar(ASKED, contract)
    assert (grammar.begin_with, grammar.begin_after) == ((), ())
    most = 0
    for seed in range(12):
        answer = served.read(served.walk(grammar, seed), contract)
        assert (answer["text"], answer["reason"]) == ("", "tool_calls")
        check_calls(answer, names)
        most = max(most, len(answer["calls"]))
    assert (most == 1) is (not contract.parallel_tool_calls)


@pytest.mark.parametrize("asked", [ASKED, THINKING], ids=["silent", "thinking"])
def test_auto_begins_with_the_marker(asked: Conversation, served: Checkpoint) -> None:
    grammar = served.dialect.grammar(asked, OutputContract())
    begins = served.control["<|tools_prefix|>"]
    assert (grammar.begin_with, grammar.forbidden) == ((begins,), (served.control["<|tools_suffix|>"],))
    for seed in range(5):
        answer = served.read(served.walk(grammar, seed, [begins]), OutputContract())
        assert answer["calls"]
        check_calls(answer, NAMES)


def test_none_forbids_both_markers(served: Checkpoint) -> None:
    none = OutputContract(tool_choice=ToolChoice("none"))
    grammar = served.dialect.grammar(ASKED, none)
    assert grammar == Grammar(None, forbidden=(served.control["<|tools_prefix|>"], served.control["<|tools_suffix|>"]))
    assert served.dialect.grammar(Conversation(ASKED.messages), none) is None


def test_a_call_or_the_format(served: Checkpoint) -> None:
    grammar = served.dialect.grammar(ASKED, COLOUR)
    seen = set()
    for seed in range(20):
        answer = served.read(served.walk(grammar, seed), COLOUR)
        check_calls(answer, NAMES)
        assert bool(answer["calls"]) is (answer["text"] == "")
        assert answer["text"] in ("", "red", "blue")
        seen.add(bool(answer["calls"]))
    assert seen == {True, False}


def test_thoughts_come_first_if_they_were_asked_for(served: Checkpoint) -> None:
    think, end, begins = (served.control[f"<|{name}|>"] for name in ("inner_prefix", "inner_suffix", "tools_prefix"))
    thoughts = [think, *served.tokenizer.encode('Hm. [{"a')]
    matcher = matcher_of(served.compiler, served.dialect.grammar(THINKING, REQUIRED))
    for before in ([*thoughts, end], thoughts, []):
        assert matcher.validate_tokens([*before, begins]) == len(before) + 1
    assert not matcher.validate_tokens(served.tokenizer.encode("Hello"))
    matcher = matcher_of(served.compiler, served.dialect.grammar(THINKING, COLOUR))
    for before in ([*thoughts, end], []):
        said = [*before, *served.tokenizer.encode("blue")]
        assert matcher.validate_tokens(said) == len(said)
    assert not matcher_of(served.compiler, served.dialect.grammar(ASKED, REQUIRED)).validate_tokens([think])


def test_the_end_of_calls_ends_the_request(served: Checkpoint) -> None:
    """It is one of the tokens that the checkpoint ends answers with; nothing else can come, so it is not sampled."""
    compiled = served.compiler.submit(served.dialect.grammar(ASKED, REQUIRED)).result(20)
    end = served.control["<|tools_suffix|>"]
    said = [served.control["<|tools_prefix|>"], *served.tokenizer.encode('[{"a-b.c_d": {}}')]
    state = GrammarState(compiled, said, {end, served.control["<|assistant_end|>"]}, 0, forcing=True)
    assert not state.may_stop
    (bracket,) = served.tokenizer.encode("]")
    verdict = state.advance(bracket)
    assert verdict is not None
    assert (verdict.forced, verdict.error) == ([end], None)


MADE = (
    ToolCall("1", "get_weather", '{"city": "Zürich"}'),
    ToolCall("2", "a-b.c_d", "{}"),
    ToolCall("3", "für:x", '{"n": true}'),
)


@pytest.mark.parametrize("text", ["", "Let me look.\n\n"])
def test_what_the_template_writes_is_admitted_and_read_back(text: str, served: Checkpoint) -> None:
    prompt = served.dialect.render(ASKED)
    turn = Message("assistant", text, tool_calls=MADE)
    whole = served.dialect.render(Conversation((*ASKED.messages, turn), TOOLS, add_generation_prompt=False))
    assert whole[: len(prompt)] == prompt
    said = whole[len(prompt) :]
    start = said.index(served.control["<|tools_prefix|>"])
    for contract in (REQUIRED, OutputContract()):
        matcher = matcher_of(served.compiler, served.dialect.grammar(ASKED, contract))
        assert matcher.validate_tokens(said[start:]) == len(said) - start
        for token in said[start:]:
            matcher.consume_token(token)
        assert matcher.is_accepting()
        answer = served.read(said, contract)
        assert answer["text"] == text
        assert [(call["name"], call["arguments"]) for call in answer["calls"]] == [
            (call.name, call.arguments) for call in MADE
        ]
