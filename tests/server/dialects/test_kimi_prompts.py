"""Kimi's prompts: tools as TypeScript, reasoning on and off, ids of calls."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.golden import conversation_of

from server.conversation import Conversation, Message, ToolCall
from server.dialects.kimi import native_ids
from server.dialects.kimi_typescript import declare_tools
from server.dialects.registry import load_dialect
from server.text.tokenizer import load_tokenizer

MODELS = Path(__file__).parents[4] / "shared" / "data" / "models"
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason=f"needs the published model files in {MODELS}")


@needs_models
@pytest.mark.parametrize("family", ["kimi-k2-thinking", "kimi-k2.5"])
def test_recorded_prompts_from_conversations(family: str, tmp_path: Path) -> None:
    shutil.copy(MODELS / "kimi-k2-instruct" / "tiktoken.model", tmp_path)
    shutil.copy(MODELS / "kimi-k2.5" / "tokenizer_config.json", tmp_path)  # K2-Thinking's own is not at hand
    shutil.copy(MODELS / family / "chat_template.jinja", tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    dialect = load_dialect(tmp_path, tokenizer)
    inputs = json.loads((MODELS / "golden_inputs.json").read_text("utf-8"))
    golden = json.loads((MODELS / family / "golden" / "chat_template.json").read_text("utf-8"))
    expected: dict[str, Any] = {}
    for variant in ("as_given", "tools_deep_sorted", "tools_ts_str"):  # the family's own way last
        expected |= {case["name"]: case for case in golden["cases"] if case["variant"] == variant}
    think = tokenizer.control_tokens["<think>"]
    for name, case in expected.items():
        conversation = conversation_of(inputs[name], case)
        prompt = dialect.render(conversation)
        text = b"".join(map(tokenizer.token_bytes, prompt)).decode()
        assert text == case["rendered"], name
    assert dialect.reasoning == ("optional" if family == "kimi-k2.5" else "always")
    asked = (Message("user", "x"),)
    assert (dialect.render(Conversation(asked))[-1] == think) is (family == "kimi-k2.5")
    assert dialect.render(Conversation(asked, reasoning=False))[-1] != think


def test_typescript_of_every_kind() -> None:
    parameters = {
        "type": "object",
        "properties": {
            "z": {"type": "integer", "minimum": 1, "default": 3},
            "a": {"type": ["string", "null"], "description": "two\nlines"},
            "list": {"type": "array", "items": {"type": "string", "description": "one of them"}},
            "plain": {"type": "array", "items": {"type": "number"}},
            "any": {"type": "array"},
            "either": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/point"}]},
            "mode": {"enum": ["on", 1, None], "default": "on"},
            "odd": {"oneOf": [{"type": "string"}]},
            "map": {"type": "object", "additionalProperties": {"type": "number"}},
        },
        "required": ["list", "a"],
        "$defs": {"point": {"type": "object", "properties": {"x": {"type": "number"}}, "description": "A place"}},
    }
    said = declare_tools(
        [{"type": "function", "function": {"name": "f", "description": "F", "parameters": parameters}}]
    )
    assert said == (
        "# Tools\n\n## functions\nnamespace functions {\n"
        "// A place\ninterface point {\n  x?: number\n}\n"
        "// F\ntype f = (_: {\n"
        "  // two\n  // lines\n  a: string | null,\n"
        "  list: Array<\n    // one of them\n    string\n  >,\n"
        "  any?: Array<any>,\n"
        "  either?: string | point,\n"
        "  map?: {\n    [k: string]: number\n  },\n"
        '  // Default: "on"\n  mode?: "on" | 1 | None,\n'
        "  odd?: any,\n"
        "  plain?: Array<number>,\n"
        "  // minimum: 1\n  // Default: 3\n  z?: number\n"
        "}) => any;\n}\n"
    )


def test_a_schema_that_refers_to_itself() -> None:
    parameters = {"type": "object", "properties": {"child": {"$ref": "#"}}}
    said = declare_tools([{"type": "function", "function": {"name": "f", "parameters": parameters}}])
    assert "interface parameters {\n  child?: parameters\n}\ntype f = (_: parameters) => any;" in said


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab/#$", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("type", "properties", "required", "description", "default", "enum", "anyOf", "items", "minimum"),
                    *("additionalProperties", "$defs", "$ref"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["properties", "required", "$defs", "additionalProperties"]), ODD))
@example({"required": 5, "properties": {"a": True}})
@example({"$defs": {"X": {"description": 5}}})
@example({"properties": {"a": {"type": "object", "required": {"b": 1}, "properties": {"b": {}}}}})
def test_no_schema_is_too_odd_to_be_declared(parameters: dict[str, Any]) -> None:
    said = declare_tools([{"type": "function", "function": {"name": "f", "parameters": parameters}}])
    assert said.endswith(") => any;\n}\n")


def test_ids_count_over_the_conversation() -> None:
    messages = (
        Message("assistant", tool_calls=(ToolCall("x", "a-b", "{}"), ToolCall("y", "c", "{}"))),
        Message("tool", "Y", tool_call_id="y"),
        Message("tool", "?", tool_call_id="unknown"),
        Message("assistant", tool_calls=(ToolCall("x", "c", "{}"),)),
        Message("tool", "X", tool_call_id="x"),
    )
    renamed = native_ids(messages)
    assert [call.id for message in renamed for call in message.tool_calls] == [
        "functions.a-b:0",
        "functions.c:1",
        "functions.c:2",
    ]
    assert [message.tool_call_id for message in renamed if message.role == "tool"] == [
        "functions.c:1",
        "unknown",
        "functions.c:2",
    ]
    in_messages = native_ids(messages, in_messages=True)
    assert in_messages[3].tool_calls[0].id == in_messages[4].tool_call_id == "functions.c:0"
    assert native_ids(renamed) == renamed


def test_calls_of_one_id_have_results_in_their_order() -> None:
    """Some servers give all calls the same id."""
    result = Message("tool", "R", tool_call_id="same")
    calling = Message("assistant", tool_calls=(ToolCall("same", "f", "{}"), ToolCall("same", "g", "{}")))
    again = Message("assistant", tool_calls=(ToolCall("same", "h", "{}"),))
    renamed = native_ids((calling, result, result, result, again, result, calling, again, result))
    assert [message.tool_call_id for message in renamed if message.role == "tool"] == [
        *("functions.f:0", "functions.g:1", "functions.g:1"),
        "functions.h:2",
        "functions.h:5",
    ]
