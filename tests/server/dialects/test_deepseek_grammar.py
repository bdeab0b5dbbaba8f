"""What DeepSeek's output must match: random walks keep every promise, and what the template writes of earlier calls is
admitted and read back."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.dialect_answers import matcher_of, read_answer, walk
from support.dialect_checkpoints import DATA, MODELS, deepseek

from engine import Grammar
from engine.grammar.compiler import GrammarCompiler
from engine.grammar.tokens import load_grammar_tokens
from server.conversation import AnswerFormat, Conversation, Message, OutputContract, Tool, ToolCall, ToolChoice
from server.dialects.deepseek_tokens import CALL_MARKERS
from server.dialects.dialect import ContractError
from server.dialects.registry import load_dialect
from server.text.tokenizer import Tokenizer, load_tokenizer

V3 = (DATA / "deepseek" / "chat_template.v3.jinja").read_text("utf-8")
V31 = (DATA / "deepseek" / "chat_template.v3.1.jinja").read_text("utf-8")
GENERATIONS = {"v3": V3, "v3.1": V31}
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason=f"needs the published model files in {MODELS}")

CITY = {"type": "object", "properties": {"city": {"enum": ["Rome", "Zürich"]}}, "required": ["city"]}
CITY |= {"additionalProperties": False}
TOOLS = (
    Tool("get_weather", parameters=CITY, where="tools[0].function.parameters"),
    Tool("a-b.c_d", parameters={"type": "object", "properties": {}, "additionalProperties": False}),
    Tool("für:x", parameters={"type": "object", "properties": {"n": {"type": "boolean"}}, "required": ["n"]}),
)
ASKED = Conversation((Message("user", "x"),), TOOLS)
COLOUR = AnswerFormat("choice", choices=("red", "blue"), where="guided_choice")
REQUIRED = OutputContract(tool_choice=ToolChoice("required"))


class Checkpoint:
    """A checkpoint and what its grammars are compiled with."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, dialect: Any = None) -> None:
        self.tokenizer, self.dialect = tokenizer, dialect
        self.control = tokenizer.control_tokens
        self.end = self.control["<｜end▁of▁sentence｜>"]
        self.compiler = GrammarCompiler(load_grammar_tokens(folder, tokenizer.vocab_size), tokenizer.vocab_size)

    def walk(self, grammar: Grammar, seed: int, first: list[int] | None = None) -> list[int]:
        return walk(self.compiler, self.tokenizer, grammar, seed, first or [])

    def read(self, token_ids: list[int], conversation: Conversation, contract: OutputContract) -> dict[str, Any]:
        parser = self.dialect.output_parser(conversation, contract)
        return read_answer(parser, self.tokenizer, token_ids, stop=self.end)


@pytest.fixture(scope="module", params=GENERATIONS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("checkpoint")
    return Checkpoint(folder, *deepseek(folder, GENERATIONS[request.param]))


def check_calls(answer: dict[str, Any], names: set[str]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schemas = {tool.name: tool.parameters for tool in TOOLS}
    for call in answer["calls"]:
        assert call["name"] in names
        jsonschema.validate(json.loads(call["arguments"]), schemas[call["name"]])


NAMES = {tool.name for tool in TOOLS}
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
        answer = served.read(served.walk(grammar, seed), ASKED, contract)
        assert (answer["text"], answer["reason"]) == ("", "tool_calls")
        check_calls(answer, names)
        most = max(most, len(answer["calls"]))
    assert (most == 1) is (not contract.parallel_tool_calls)


def test_auto_begins_with_the_marker_and_forbids_the_others(served: Checkpoint) -> None:
    grammar = served.dialect.grammar(ASKED, OutputContract())
    begins = served.control["<｜tool▁calls▁begin｜>"]
    assert grammar.begin_with == (begins,)
    assert set(grammar.forbidden) == {served.control[name] for name in CALL_MARKERS} - {begins}
    for seed in range(5):
        answer = served.read(served.walk(grammar, seed, [begins]), ASKED, OutputContract())
        assert answer["calls"]
        check_calls(answer, NAMES)


def test_none_forbids_all_markers_and_nothing_to_call_needs_no_grammar(served: Checkpoint) -> None:
    none = OutputContract(tool_choice=ToolChoice("none"))
    grammar = served.dialect.grammar(ASKED, none)
    assert grammar.source is None
    assert set(grammar.forbidden) == {served.control[name] for name in CALL_MARKERS}
    history = (*ASKED.messages, Message("assistant", tool_calls=(ToolCall("1", "f", "{}"),)))
    assert served.dialect.grammar(Conversation(history), none) == grammar
    assert served.dialect.grammar(Conversation(ASKED.messages), none) is None


def test_a_call_or_the_format(served: Checkpoint) -> None:
    contract = OutputContract(format=COLOUR)
    grammar = served.dialect.grammar(ASKED, contract)
    seen = set()
    for seed in range(20):
        answer = served.read(served.walk(grammar, seed), ASKED, contract)
        check_calls(answer, NAMES)
        assert bool(answer["calls"]) is (answer["text"] == "")
        assert answer["text"] in ("", "red", "blue")
        seen.add(bool(answer["calls"]))
    assert seen == {True, False}


def test_a_format_alone(served: Checkpoint) -> None:
    contract = OutputContract(format=AnswerFormat("json", schema=CITY))
    asked = Conversation(ASKED.messages)
    grammar = served.dialect.grammar(asked, contract)
    for seed in range(5):
        text = served.read(served.walk(grammar, seed), asked, contract)["text"]
        assert json.loads(text)["city"] in ("Rome", "Zürich")


def test_behind_the_thoughts_that_the_prompt_opened(tmp_path: Path) -> None:
    served = Checkpoint(tmp_path, *deepseek(tmp_path, V31))
    thinking = Conversation(ASKED.messages, TOOLS, reasoning=True)
    grammar = served.dialect.grammar(thinking, REQUIRED)
    assert grammar.begin_after == (served.control["</think>"],)
    assert grammar.begin_with == (served.control["<｜tool▁calls▁begin｜>"],)
    assert served.end in grammar.forbidden
    assert served.dialect.grammar(thinking, OutputContract()).begin_after == ()
    assert served.dialect.grammar(Conversation(ASKED.messages, TOOLS), REQUIRED).begin_after == ()


def test_r1_may_open_its_thoughts_itself(tmp_path: Path) -> None:
    served = Checkpoint(tmp_path, *deepseek(tmp_path, V3, name="deepseek-r1"))
    think, end, begins = (served.control[name] for name in ("<think>", "</think>", "<｜tool▁calls▁begin｜>"))
    thoughts = [think, *served.tokenizer.encode('Hm. {"a')]
    matcher = matcher_of(served.compiler, served.dialect.grammar(ASKED, REQUIRED))
    for before in ([*thoughts, end], thoughts, []):
        assert matcher.validate_tokens([*before, begins]) == len(before) + 1
    assert matcher.validate_tokens([*thoughts, end, *served.tokenizer.encode("x")]) == len(thoughts) + 1
    assert not matcher.validate_tokens(served.tokenizer.encode("Hello"))
    assert not matcher.is_accepting()
    matcher = matcher_of(served.compiler, served.dialect.grammar(ASKED, OutputContract(format=COLOUR)))
    said = [*thoughts, end, *served.tokenizer.encode("blue")]
    assert matcher.validate_tokens(said) == len(said)
    assert matcher.validate_tokens([*thoughts, served.end]) == len(thoughts)


def test_a_schema_that_cannot_be_enforced_is_told_with_its_place(served: Checkpoint) -> None:
    tool = Tool("f", parameters={"type": "object", "not": {}}, where="tools[0].function.parameters")
    with pytest.raises(ContractError, match="'not' cannot be enforced") as caught:
        served.dialect.grammar(Conversation(ASKED.messages, (tool,)), OutputContract())
    assert caught.value.param == "tools[0].function.parameters"


MADE = (
    ToolCall("1", "get_weather", '{"city": "Zürich"}'),
    ToolCall("2", "a-b.c_d", "{}"),
    ToolCall("3", "für:x", '{"n": true}'),
)


def assert_round_trip(served: Checkpoint, text: str) -> None:
    """The template writes an assistant's turn; its grammar admits it, and the parser reads the same calls."""
    prompt = served.dialect.render(ASKED)
    turn = Message("assistant", text, tool_calls=MADE)
    whole = served.dialect.render(Conversation((*ASKED.messages, turn), TOOLS, add_generation_prompt=False))
    assert whole[: len(prompt)] == prompt
    assert whole[-1] == served.end
    said = whole[len(prompt) : -1]
    for contract in (REQUIRED, OutputContract()):
        grammar = served.dialect.grammar(ASKED, contract)
        start = said.index(served.control["<｜tool▁calls▁begin｜>"])
        assert bool(start) is bool(text)
        assert not set(said[:start]) & set(grammar.forbidden)
        matcher = matcher_of(served.compiler, grammar)
        assert matcher.validate_tokens(said[start:]) == len(said) - start
        for token in said[start:]:
            matcher.consume_token(token)
        assert matcher.is_accepting()
        answer = served.read(said, ASKED, contract)
        assert answer["text"] == text
        assert [(call["name"], call["arguments"]) for call in answer["calls"]] == [
            (call.name, call.arguments) for call in MADE
        ]


@pytest.mark.parametrize("text", ["", "Let me look.\n\n"])
def test_what_the_template_writes_is_admitted_and_read_back(text: str, served: Checkpoint) -> None:
    assert_round_trip(served, text)


@pytest.fixture(scope="module")
def published() -> Checkpoint:
    """The published tokenizer; a test adds the dialect."""
    folder = MODELS / "deepseek-v3"
    return Checkpoint(folder, load_tokenizer(folder))


@needs_models
@pytest.mark.parametrize("name", ["deepseek-v3/chat", "deepseek-v3.1/chat", "deepseek-r1/tool_chat"])
def test_round_trip_with_the_published_tokenizer(name: str, published: Checkpoint, tmp_path: Path) -> None:
    shutil.copy(MODELS / "deepseek-v3" / "tokenizer_config.json", tmp_path)
    suffix = "_template.vllm.jinja" if "tool" in name else "_template.jinja"
    shutil.copy(MODELS / f"{name}{suffix}", tmp_path / "chat_template.jinja")
    published.dialect = load_dialect(tmp_path, published.tokenizer)
    assert_round_trip(published, "Let me look.\n\n")


def test_many_tools_compile(served: Checkpoint) -> None:
    tools = tuple(Tool(f"tool_{index}", parameters=CITY) for index in range(128))
    grammar = served.dialect.grammar(Conversation(ASKED.messages, tools), OutputContract())
    assert not matcher_of(served.compiler, grammar).is_error()
