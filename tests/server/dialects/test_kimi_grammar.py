"""What Kimi's output must match, as the engine reads it: random walks through each grammar end in an answer that
keeps every promise."""

import json
from pathlib import Path
from typing import Any

import pytest
from llguidance import LLMatcher
from support.dialect_answers import matcher_of
from support.dialect_answers import walk as random_walk

from engine import Grammar, RequestRefused
from engine.grammar.compiler import GrammarCompiler
from engine.grammar.tokens import load_grammar_tokens
from server.conversation import AnswerFormat, Conversation, Message, OutputContract, Tool, ToolCall, ToolChoice
from server.dialects.dialect import ContractError
from server.dialects.kimi import KimiDialect
from server.dialects.lark import blamed
from server.dialects.registry import load_dialect
from server.events import TextDelta, ToolCallArguments, ToolCallStart
from server.text.tokenizer import load_tokenizer

TINY = Path(__file__).parents[2] / "data" / "tiny_kimi"
TOKENIZER = load_tokenizer(TINY)
CONTROL = TOKENIZER.control_tokens
LIBRARY = load_grammar_tokens(TINY, TOKENIZER.vocab_size)
COMPILER = GrammarCompiler(LIBRARY, TOKENIZER.vocab_size)
DIALECT = load_dialect(TINY, TOKENIZER)
assert isinstance(DIALECT, KimiDialect)

CITY = {"type": "object", "properties": {"city": {"enum": ["Rome", "Zürich"]}}, "required": ["city"]}
CITY |= {"additionalProperties": False}
TOOLS = (
    Tool("get_weather", parameters=CITY, where="tools[0].function.parameters"),
    Tool("a-b.c_d", parameters={"type": "object", "properties": {}, "additionalProperties": False}),
    Tool("für:x", parameters={"type": "object", "properties": {"n": {"type": "boolean"}}, "required": ["n"]}),
)
HISTORY = (
    Message("user", "x"),
    Message("assistant", tool_calls=(ToolCall("call_1", "a-b.c_d", "{}"), ToolCall("call_2", "a-b.c_d", "{}"))),
)
ASKED = Conversation((Message("user", "x"),), TOOLS)
COLOUR = AnswerFormat("choice", choices=("red", "blue"), where="guided_choice")


def compiled(grammar: Grammar) -> LLMatcher:
    return matcher_of(COMPILER, grammar)


def walk(grammar: Grammar, seed: int, first: list[int] | None = None) -> list[int]:
    return random_walk(COMPILER, TOKENIZER, grammar, seed, first or [])


def read(token_ids: list[int], conversation: Conversation, contract: OutputContract) -> tuple[str, list[list[Any]]]:
    parser = DIALECT.output_parser(conversation, contract)
    text, calls = "", []
    for delta in parser.feed(token_ids) + parser.flush(cut=False):
        if isinstance(delta, TextDelta):
            text += delta.text
        elif isinstance(delta, ToolCallStart):
            calls.append([delta.id, delta.name, ""])
        elif isinstance(delta, ToolCallArguments):
            calls[delta.index][2] += delta.delta
    return text, calls


def check_calls(calls: list[list[Any]], names: set[str], first: int = 0) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schemas = {tool.name: tool.parameters for tool in TOOLS}
    for index, (id, name, arguments) in enumerate(calls):
        assert name in names
        assert id == f"functions.{name}:{first + index}"
        jsonschema.validate(json.loads(arguments), schemas[name])


NAMES = {tool.name for tool in TOOLS}
CHOICES: dict[str, tuple[OutputContract, set[str]]] = {
    "required": (OutputContract(tool_choice=ToolChoice("required")), NAMES),
    "one call": (OutputContract(tool_choice=ToolChoice("required"), parallel_tool_calls=False), NAMES),
    "named": (OutputContract(tool_choice=ToolChoice("required", ("für:x",))), {"für:x"}),
    "allowed": (OutputContract(tool_choice=ToolChoice("required", ("für:x", "a-b.c_d"))), {"für:x", "a-b.c_d"}),
}


@pytest.mark.parametrize("case", CHOICES)
@pytest.mark.parametrize("messages", [(Message("user", "x"),), HISTORY], ids=["first", "later"])
def test_forced_calls(case: str, messages: tuple[Message, ...]) -> None:
    contract, names = CHOICES[case]
    conversation = Conversation(messages, TOOLS)
    grammar = DIALECT.grammar(conversation, contract)
    assert grammar is not None
    assert (grammar.begin_with, grammar.begin_after) == ((), ())
    most = 0
    for seed in range(12):
        text, calls = read(walk(grammar, seed), conversation, contract)
        assert text == ""
        assert calls
        check_calls(calls, names, first=len(messages[1].tool_calls) if len(messages) > 1 else 0)
        most = max(most, len(calls))
    assert (most == 1) is (not contract.parallel_tool_calls)


def test_auto_begins_with_a_marker_and_forbids_the_others() -> None:
    contract = OutputContract()
    grammar = DIALECT.grammar(ASKED, contract)
    assert grammar is not None
    section, call = CONTROL["<|tool_calls_section_begin|>"], CONTROL["<|tool_call_begin|>"]
    assert grammar.begin_with == (section, call)
    assert set(grammar.forbidden) == {
        CONTROL[name] for name in ("<|tool_calls_section_end|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>")
    }
    for first in (section, call):
        for seed in range(5):
            text, calls = read(walk(grammar, seed, [first]), ASKED, contract)
            assert text == ""
            check_calls(calls, NAMES)


def test_none_forbids_all_markers_and_nothing_to_call_needs_no_grammar() -> None:
    none = OutputContract(tool_choice=ToolChoice("none"))
    markers = tuple(CONTROL[f"<|tool_call{what}|>"] for what in ("s_section_begin", "s_section_end", "_begin"))
    grammar = DIALECT.grammar(ASKED, none)
    assert grammar is not None
    assert grammar.source is None
    assert set(markers) < set(grammar.forbidden)
    assert DIALECT.grammar(Conversation(HISTORY), none) == grammar
    assert DIALECT.grammar(Conversation((Message("user", "x"),)), none) is None


def test_a_call_or_the_format() -> None:
    contract = OutputContract(format=COLOUR)
    grammar = DIALECT.grammar(ASKED, contract)
    assert grammar is not None
    seen = set()
    for seed in range(20):
        text, calls = read(walk(grammar, seed), ASKED, contract)
        check_calls(calls, NAMES)
        assert bool(calls) is (text == "")
        assert text in ("", "red", "blue")
        seen.add(bool(calls))
    assert seen == {True, False}


FORMATS: dict[str, tuple[AnswerFormat, Any]] = {
    "json": (AnswerFormat("json", schema=CITY), lambda text: json.loads(text)["city"] in ("Rome", "Zürich")),
    "any object": (AnswerFormat("json", schema={"type": "object"}), lambda text: isinstance(json.loads(text), dict)),
    "regex": (AnswerFormat("regex", source=r"a/[0-9]{2}\/b"), lambda text: text[:2] == "a/" and text[4:] == "/b"),
    "choice": (AnswerFormat("choice", choices=('"quoted"\n', "ü")), lambda text: text in ('"quoted"\n', "ü")),
    "delete": (AnswerFormat("choice", choices=("a\x7f", "\\\x7f")), lambda text: text in ("a\x7f", "\\\x7f")),
    "lark": (AnswerFormat("lark", source='start: A "-" b\nA: "x"\nb: "y" | "z"'), lambda text: text in ("x-y", "x-z")),
}


@pytest.mark.parametrize("case", FORMATS)
def test_formats(case: str) -> None:
    format, holds = FORMATS[case]
    contract = OutputContract(format=format)
    asked = Conversation((Message("user", "x"),))
    grammar = DIALECT.grammar(asked, contract)
    assert grammar is not None
    for seed in range(8):
        text, _ = read(walk(grammar, seed), asked, contract)
        assert holds(text), text


def thinking(tmp_path: Path, template: str) -> KimiDialect:
    """The dialect of a model that thinks: the tiny tokenizer with <think>."""
    config = json.loads((TINY / "tokenizer_config.json").read_text())
    spare = max(map(int, config["added_tokens_decoder"])) - 10
    for offset, name in enumerate(("<think>", "</think>")):
        config["added_tokens_decoder"][str(spare + offset)] = {"content": name}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "tiktoken.model").write_bytes((TINY / "tiktoken.model").read_bytes())
    (tmp_path / "chat_template.jinja").write_text(template)
    dialect = load_dialect(tmp_path, load_tokenizer(tmp_path))
    assert isinstance(dialect, KimiDialect)
    return dialect


ALWAYS = "{% for m in messages %}<think></think>{{ m.content }}<|im_end|>{% endfor %}<|im_middle|>"
OPTIONAL = "{{ messages[0].content }}<|im_middle|>{% if thinking is defined and thinking is false %}<think></think>"
OPTIONAL += "{% else %}<think>{% endif %}"


def test_behind_the_thoughts_that_the_prompt_opened(tmp_path: Path) -> None:
    dialect = thinking(tmp_path, OPTIONAL)
    assert dialect.reasoning == "optional"
    required = OutputContract(tool_choice=ToolChoice("required"))
    grammar = dialect.grammar(ASKED, required)
    assert grammar is not None
    control = load_tokenizer(tmp_path).control_tokens
    assert grammar.begin_after == (control["</think>"],)
    assert grammar.begin_with == (control["<|tool_calls_section_begin|>"], control["<|tool_call_begin|>"])
    assert {control["<|im_end|>"], control["[EOS]"]} <= set(grammar.forbidden)
    assert dialect.render(ASKED)[-1] == control["<think>"]
    for off in (
        Conversation(ASKED.messages, TOOLS, reasoning=False),
        Conversation(ASKED.messages, TOOLS, template_arguments={"thinking": False}),
    ):
        assert dialect.render(off)[-1] == control["</think>"]
        plain = dialect.grammar(off, required)
        assert plain is not None
        assert (plain.begin_after, plain.begin_with) == ((), ())
    auto = dialect.grammar(ASKED, OutputContract())
    assert auto is not None
    assert auto.begin_after == ()


def test_thoughts_that_the_model_opens_are_part_of_the_grammar(tmp_path: Path) -> None:
    dialect = thinking(tmp_path, ALWAYS)
    assert dialect.reasoning == "always"
    grammar = dialect.grammar(ASKED, OutputContract(tool_choice=ToolChoice("required")))
    assert grammar is not None
    tokenizer = load_tokenizer(tmp_path)
    compiler = GrammarCompiler(load_grammar_tokens(tmp_path, tokenizer.vocab_size), tokenizer.vocab_size)
    automaton = compiler.submit(grammar).result(20).automaton
    assert automaton is not None
    control = tokenizer.control_tokens
    thoughts = [control["<think>"], *tokenizer.encode('Hm. {"a'), control["</think>"]]
    for before in (thoughts, []):
        matcher = automaton.matcher.deep_copy()
        said = [*before, control["<|tool_calls_section_begin|>"], control["<|tool_call_begin|>"]]
        assert matcher.validate_tokens(said) == len(said)
    assert not automaton.matcher.deep_copy().validate_tokens(tokenizer.encode("Hello"))
    assert not automaton.matcher.is_accepting()


def test_a_schema_that_cannot_be_enforced_is_told_with_its_place() -> None:
    tool = Tool("f", parameters={"type": "object", "not": {}}, where="tools[0].function.parameters")
    with pytest.raises(ContractError, match="'not' cannot be enforced") as caught:
        DIALECT.grammar(Conversation(ASKED.messages, (tool,)), OutputContract())
    assert caught.value.param == "tools[0].function.parameters"


def test_what_the_engine_refuses_is_traced_to_the_tool() -> None:
    """Two alternatives that overlap: only the library can tell."""
    overlapping = {"oneOf": [{"type": "string"}, {"type": "string", "maxLength": 3}]}
    bad = Tool("g", parameters={"type": "object", "properties": {"a": overlapping}}, where="tools[3].x")
    contract = OutputContract(format=AnswerFormat("regex", source="(?=a)b", where="guided_regex"))
    for tools, asked, place in (((*TOOLS, bad), OutputContract(), "tools[3].x"), ((), contract, "guided_regex")):
        grammar = DIALECT.grammar(Conversation(ASKED.messages, tools), asked)
        assert grammar is not None
        with pytest.raises(RequestRefused) as caught:
            compiled(grammar)
        assert blamed(grammar.source or "", str(caught.value), asked, tools) == place


def test_many_tools_compile() -> None:
    tools = tuple(Tool(f"tool_{index}", parameters=CITY) for index in range(128))
    grammar = DIALECT.grammar(Conversation(ASKED.messages, tools), OutputContract())
    assert grammar is not None
    assert not compiled(grammar).is_error()
