"""Parameters as tagged texts: whatever the schema, what the grammar admits reads as a valid value; what cannot be held
is refused by name."""

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dialect_answers import matcher_of
from support.qwen_checkpoints import DeadEnd, QwenCheckpoint, check_calls, read, walk

from engine import Grammar, RequestRefused
from server.conversation import Conversation, Message, OutputContract, Tool, ToolChoice
from server.dialects.dialect import ContractError
from server.dialects.lark import blamed
from server.dialects.qwen_xml_text import FORMATS
from server.dialects.qwen_xml_values import admits_word, types_of
from server.json_schema import FORMATS as ENFORCED_FORMATS

WHERE = "tools[0].function.parameters"
REQUIRED = OutputContract(tool_choice=ToolChoice("required"), parallel_tool_calls=False)


@cache
def qwen() -> QwenCheckpoint:
    with TemporaryDirectory() as folder:
        return QwenCheckpoint(Path(folder), "coder_like.jinja")


def asked(parameters: dict[str, Any] | None) -> Conversation:
    return Conversation((Message("user", "x"),), (Tool("f", parameters=parameters, where=WHERE),))


def one(schema: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"p": schema}, "required": ["p"], **more}


def admits(parameters: dict[str, Any] | None, body: str) -> bool:
    said = qwen().tokens("<tool_call>", f"\n<function=f>\n{body}</function>\n", "</tool_call>")
    return qwen().admits(asked(parameters), REQUIRED, said)


def says(schema: Any, text: str, **more: Any) -> bool:
    """Whether a parameter of this schema may be this text."""
    return admits(one(schema, **more), f"<parameter=p>\n{text}\n</parameter>\n")


TEXTS: list[tuple[Any, str, bool]] = [
    ({"type": "string"}, "a\n<b></b>\n", True),
    ({"type": "string"}, "", True),
    ({"type": "string"}, "a</parameter>b", True),
    ({"type": "string"}, "</parameter>b", False),
    ({"type": "string", "minLength": 2, "maxLength": 3}, "漢字", True),
    ({"type": "string", "minLength": 2, "maxLength": 3}, "a", False),
    ({"type": "string", "minLength": 2, "maxLength": 3}, "abcd", False),
    ({"enum": ["red", "dark blue", ""]}, "dark blue", True),
    ({"enum": ["red", "dark blue", ""]}, "", True),
    ({"enum": ["red", "dark blue", ""]}, "blue", False),
    ({"const": "x\ny"}, "x\ny", True),
    ({"const": "x\x7fy"}, "x\x7fy", True),
    ({"enum": ["a", "b"], "type": "string", "maxLength": 1, "pattern": "b"}, "a", False),
    ({"type": "integer", "minimum": 3}, "3", True),
    ({"type": "integer", "minimum": 3}, "2", False),
    ({"type": "integer"}, "3.5", False),
    ({"type": "number"}, "1e-07", True),
    ({"type": "boolean"}, "True", True),
    ({"type": "boolean"}, "false", True),
    ({"type": "boolean"}, "None", False),
    ({"const": True}, "True", True),
    ({"const": True}, "False", False),
    ({"type": ["integer", "null"]}, "None", True),
    ({"type": ["string", "null"]}, "null", True),
    ({"type": ["string", "null"]}, "nul", True),
    ({"type": ["string", "null"]}, "true", True),
    ({"type": ["string", "integer"]}, "12 km", True),
    ({"type": ["string", "integer"]}, "-12", True),
    ({"type": ["string", "integer"]}, "007", True),
    ({"type": ["string", "integer"]}, "1.5", True),  # a string, for it is no integer
    ({"anyOf": [{"type": "string"}, {"enum": [1, 2]}]}, "2", True),
    ({"anyOf": [{"type": "string"}, {"enum": [1, 2]}]}, "3", False),
    ({"type": ["string", "object"]}, '{"a": 1}', True),
    ({"type": ["string", "object"]}, "{a}", False),
    ({"type": ["string", "object"]}, "a {b}", True),
    ({}, "[1, null]", True),
    ({}, "[1,", False),
    (True, "anything", True),
    ({"anyOf": [{"type": "string", "maxLength": 2}, {"type": "string", "pattern": "^x"}]}, "xyz", True),
    ({"anyOf": [{"type": "string", "maxLength": 2}, {"type": "string", "pattern": "^x"}]}, "abc", False),
    ({"oneOf": [{"type": "string", "maxLength": 2}, {"type": "string", "minLength": 2}]}, "ab", False),
    ({"oneOf": [{"type": "string", "maxLength": 2}, {"type": "string", "minLength": 2}]}, "abc", True),
    ({"allOf": [{"type": "string", "maxLength": 2}, {"type": "string", "pattern": "^x"}]}, "xy", True),
    ({"allOf": [{"type": "string", "maxLength": 2}, {"type": "string", "pattern": "^x"}]}, "xyz", False),
    ({"$ref": "#/$defs/short"}, "ab", True),
    ({"$ref": "#/$defs/short"}, "abc", False),
    ({"anyOf": [{"$ref": "#/$defs/short"}, {"type": "null"}]}, "None", True),
    ({"$ref": "#/$defs/list"}, "[[], [[]]]", True),
    ({"$ref": "#/$defs/list"}, "[1]", False),
    ({"anyOf": [{"$ref": "#/$defs/list"}, {"type": "string"}]}, "[[]]", True),
]
DEFINITIONS = {
    "short": {"type": "string", "maxLength": 2},
    "list": {"type": "array", "items": {"$ref": "#/$defs/list"}},
}


@pytest.mark.parametrize(("schema", "text", "admitted"), TEXTS)
def test_texts_by_schema(schema: Any, text: str, admitted: bool) -> None:
    more = {"$defs": DEFINITIONS} if "$ref" in json.dumps(schema) else {}
    assert says(schema, text, **more) is admitted


def test_parameters_come_in_order_and_optional_ones_may_lack() -> None:
    text = {"type": "string"}
    schema = {"type": "object", "properties": {"a": text, "b": text, "c": text}, "required": ["b"]}
    for keys, admitted in (("b", True), ("abc", True), ("bc", True), ("ac", False), ("ba", False), ("bb", False)):
        body = "".join(f"<parameter={key}>\nx\n</parameter>\n" for key in keys)
        assert admits(schema, body) is admitted, keys
    assert not admits(schema, "<parameter=b>\nx\n</parameter>\n<parameter=d>\nx\n</parameter>\n")


def test_a_name_with_a_control_character() -> None:
    assert admits({"type": "object", "properties": {"a\x7fb": {}}}, "<parameter=a\x7fb>\nx\n</parameter>\n")


def test_tools_without_parameters_and_with_open_ones() -> None:
    parameter = "<parameter=some key>\n5\n</parameter>\n"
    assert admits(None, "")
    assert not admits(None, parameter)
    assert admits({"type": "object"}, parameter * 2)
    numbers = {"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "integer", "maximum": 4}}
    assert admits(numbers, "<parameter=b>\n4\n</parameter>\n")
    assert not admits(numbers, parameter)
    assert not admits(numbers, "<parameter=b>\n4\n</parameter>\n<parameter=a>\nx\n</parameter>\n")
    undeclared = {"type": "object", "properties": {}, "required": ["r"], "additionalProperties": True}
    assert not admits(undeclared, "")
    assert admits(undeclared, "<parameter=r>\nx\n</parameter>\n")
    impossible = {"type": "object", "properties": {"a": False, "b": {"type": "integer", "enum": ["x"]}}}
    assert admits(impossible, "")


def test_parameters_that_are_a_reference() -> None:
    schema = {"$ref": "#/$defs/f", "$defs": {"f": one({"$ref": "#/$defs/n"}), "n": {"type": "integer"}}}
    body = "<parameter=p>\n5\n</parameter>\n"
    assert admits(schema, body)
    assert not admits(schema, "")
    assert not admits(schema, body.replace("5", "five"))
    said = qwen().tokens("<tool_call>", f"\n<function=f>\n{body}</function>\n", "</tool_call>")
    answer = read(qwen(), said, asked(schema), REQUIRED)
    assert answer["calls"][0]["arguments"] == '{"p": 5}'


REFUSED: list[tuple[dict[str, Any], str]] = [
    (one({"type": "string", "not": {}}), "'not' cannot be enforced"),
    (one({"type": "string", "pattern": "a(^b)"}), r"properties.p: the pattern 'a\(\^b\)' has an anchor within"),
    (one({"type": "string", "pattern": "[\\D]"}), r"has \\D within brackets"),
    (one({"type": ["string", "integer"], "minimum": 2}), "'minimum' cannot be enforced where a string is admitted"),
    (one({"oneOf": [{"type": "string", "format": "date"}, {"type": "string"}]}), "with a format, cannot be enforced"),
    (one({"anyOf": [{"type": "string"}, {"type": "number", "multipleOf": 2}]}), "'multipleOf' cannot be enforced"),
    (one({"oneOf": [{"type": "string"}, {"type": "number"}, {"type": "integer"}]}), "oneOf of several kinds"),
    (
        one({"anyOf": [{"type": "string"}, {"$ref": "#/$defs/a"}]}, **{"$defs": {"a": {"$ref": "#/$defs/a"}}}),
        "refers to itself",
    ),
    (one({"$ref": "#"}), "references are followed into"),
    (one({"$ref": "#/properties/q"}, properties={"p": {"$ref": "#/properties/q"}, "q": {}}), "references are followed"),
    (one({"$ref": "https://example.com/a"}), "points out of the schema"),
    (one({}, anyOf=[{"required": ["p"]}]), "'anyOf' on all parameters together"),
    (one({}, patternProperties={"a": {}}), "'patternProperties' on all parameters"),
    (one({}, **{"$ref": "#/$defs/a", "$defs": {"a": {}}}), r"'\$ref' on all parameters"),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, r"'\$ref' on all parameters"),
    (one({}, minProperties=2), "'minProperties' on all parameters"),
    ({"type": "object", "properties": {"a": {}, "b": {}}, "maxProperties": 1}, "'maxProperties' on all parameters"),
    ({"type": "object", "properties": {"a>b": {}}}, "can name the property 'a>b'"),
    ({"type": "object", "properties": {"a" * 257: {}}}, "can name the property 'aaa"),
    ({"type": "object", "properties": {}, "required": ["a"], "additionalProperties": False}, "'a' is required, but"),
]


@pytest.mark.parametrize(("parameters", "message"), REFUSED)
def test_what_cannot_be_held_is_refused_by_name(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message) as caught:
        qwen().dialect.grammar(asked(parameters), REQUIRED)
    assert caught.value.param.startswith(WHERE)


def test_limits_that_the_parameters_keep_anyway_are_fine() -> None:
    assert admits(one({}, minProperties=1, maxProperties=1), "<parameter=p>\nx\n</parameter>\n")


def test_what_the_engine_refuses_is_traced_to_the_tool() -> None:
    good, bad = Tool("g", parameters=one({"type": "string"}), where="x"), one({"type": "string", "pattern": "a(?=b)"})
    tools = (good, Tool("f", parameters=bad, where=WHERE))
    grammar = qwen().dialect.grammar(Conversation((), tools), REQUIRED)
    assert grammar is not None
    with pytest.raises(RequestRefused) as caught:
        matcher_of(qwen().compiler, grammar)
    assert blamed(grammar.source or "", str(caught.value), REQUIRED, tools) == WHERE


PATTERNS = st.lists(
    st.sampled_from(
        ["a", "b", "^", "$", "|", "(a|b)", "(?:b$)", "[^a]", "[\\d/]", "\\d", "\\w", "\\/", "\\$", ".", "+", "[$^|]"]
    ),
    min_size=1,
    max_size=5,
).map("".join)


@settings(max_examples=80, deadline=None)
@given(PATTERNS, st.lists(st.text("ab1/$^|é", max_size=5), min_size=1, max_size=6))
def test_patterns_mean_what_they_mean_in_json(pattern: str, texts: list[str]) -> None:
    """The engine's own reading of patterns, in JSON, is the oracle."""
    schema = {"type": "string", "pattern": pattern}
    quoted = Grammar("start: %json " + json.dumps(schema))
    try:
        in_json = matcher_of(qwen().compiler, quoted)
        grammar = qwen().dialect.grammar(asked(one(schema)), REQUIRED)
        assert grammar is not None
        matcher_of(qwen().compiler, grammar)
    except (ContractError, RequestRefused):
        return
    for text in texts:
        matcher = in_json.deep_copy()
        expected = (
            matcher.consume_tokens(qwen().tokens(json.dumps(text, ensure_ascii=False))) and matcher.is_accepting()
        )
        assert says(schema, text) is expected, (pattern, text)


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_formats_are_narrower_than_their_standards(format: str) -> None:
    """By the engine's own reading of them."""
    schema = {"type": "string", "format": format}
    grammar = qwen().dialect.grammar(asked(one(schema)), REQUIRED)
    assert grammar is not None
    in_json = matcher_of(qwen().compiler, Grammar("start: %json " + json.dumps(schema)))
    for seed in range(12):
        answer = read(qwen(), walk(qwen(), grammar, seed), asked(one(schema)), REQUIRED)
        matcher, text = in_json.deep_copy(), json.loads(answer["calls"][0]["arguments"])["p"]
        assert matcher.consume_tokens(qwen().tokens(json.dumps(text))), text
        assert matcher.is_accepting(), text
    assert sorted(FORMATS) == sorted(ENFORCED_FORMATS)


WORDS = st.sampled_from(["a", "null", "None", "5", "-1", "true", "{", "[x", "1e5", "x\ny", "True", "0.5"])
SCALARS = WORDS | st.integers(-9, 9) | st.booleans() | st.none() | st.sampled_from([0.5, 1e5])
STRINGS = st.fixed_dictionaries(
    {"type": st.just("string")},
    optional={
        "maxLength": st.integers(2, 6),
        "minLength": st.integers(0, 2),
        "pattern": st.sampled_from(["^[0-9]", "a|5$", "^.?$"]),
    },
)
PLAIN = st.sampled_from(
    [
        *({"type": name} for name in ("integer", "number", "boolean", "null", "array", "object")),
        *(
            {"type": "integer", "minimum": -3, "maximum": 40},
            {"type": ["integer", "null"]},
            {"type": ["string", "null"]},
        ),
        *({"type": ["string", "number"]}, {"type": ["string", "boolean", "array"]}, {"$ref": "#/$defs/a"}, {}, True),
        {"type": "object", "properties": {"k": {"type": "boolean"}}, "required": ["k"]},
    ]
)
SCHEMAS = st.recursive(
    STRINGS
    | PLAIN
    | st.lists(SCALARS, min_size=1, max_size=4).map(lambda values: {"enum": values})
    | SCALARS.map(lambda value: {"const": value}),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda found: {"anyOf": found})
        | inner.map(lambda found: {"type": "array", "items": found, "maxItems": 2})
        | st.tuples(inner, STRINGS).map(lambda found: {"oneOf": list(found)})
    ),
    max_leaves=4,
)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["a", "b c", "ü"]), SCHEMAS, min_size=1, max_size=2), SCHEMAS, st.integers(0, 99)
)
def test_whatever_is_admitted_is_valid(properties: dict[str, Any], definition: Any, seed: int) -> None:
    parameters = {"type": "object", "properties": properties, "required": list(properties), "$defs": {"a": definition}}
    conversation = asked(parameters)
    contract = OutputContract(tool_choice=ToolChoice("required"), parallel_tool_calls=False, string_limit=8)
    try:
        grammar = qwen().dialect.grammar(conversation, contract)
        assert grammar is not None
        answer = read(qwen(), walk(qwen(), grammar, seed), conversation, contract)
    except (ContractError, RequestRefused):
        return
    except DeadEnd:  # no string is valid, which the engine sees in JSON only
        with pytest.raises(RequestRefused):
            matcher_of(qwen().compiler, Grammar("start: %json " + json.dumps(parameters)))
        return
    check_calls(answer, conversation.tools)
    assert len(answer["calls"]) == 1


@settings(max_examples=100)
@given(SCHEMAS, SCHEMAS, SCALARS | st.sampled_from([[], {}, [1]]))
def test_types_of_a_schema(schema: Any, definition: Any, value: Any) -> None:
    """A value that is valid has one of the types, and exactly the valid words are admitted."""
    document = {"allOf": [schema], "$defs": {"a": definition}}
    try:
        valid = jsonschema.Draft202012Validator(document).is_valid(value)
    except RecursionError:
        return
    kinds = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null", list: "array"}
    if valid:
        assert {kinds.get(type(value), "object"), "number" if type(value) is int else ""} & types_of(document, document)
    if value is None or isinstance(value, bool):
        assert admits_word(document, value, document) is valid
