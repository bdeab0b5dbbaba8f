"""Qwen's prompts: the recorded ones, thoughts on and off, which checkpoints are Qwen's, and nothing forged."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.golden import conversation_of
from support.qwen_checkpoints import CONTROL, PUBLISHED, TEMPLATES, QwenCheckpoint, tokens
from support.tiny_tokenizers import write_byte_tokenizer

from server.conversation import Conversation, Message, Tool, ToolCall
from server.dialects.dialect import TemplateArgumentError, TemplateError
from server.dialects.registry import load_dialect
from server.text.tokenizer import load_tokenizer

needs_published = pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"needs the published files in {PUBLISHED}")
ASKED = Conversation((Message("user", "x"),))


@needs_published
@pytest.mark.parametrize("revision", ["2025-04.", "", "nonthinking.", "thinking."])
def test_recorded_prompts_from_conversations(revision: str, tmp_path: Path) -> None:
    shutil.copy(PUBLISHED / "config.qwen3-30b-a3b.json", tmp_path / "config.json")
    shutil.copy(PUBLISHED / f"chat_template.{revision}jinja", tmp_path / "chat_template.jinja")
    tokenizer, _ = tokens(published=True)
    dialect = load_dialect(tmp_path, tokenizer)
    assert dialect.name == "qwen3"
    inputs = json.loads((PUBLISHED.parent / "golden_inputs.json").read_text("utf-8"))
    golden = json.loads((PUBLISHED / "golden" / f"chat_template.{revision}json").read_text("utf-8"))
    compared = 0
    for case in golden["cases"]:
        if case["name"] == "content_parts" or "error" in case:
            continue  # parts are joined before they get here; nothing is no content
        prompt = dialect.render(conversation_of(inputs[case["name"]], case))
        assert b"".join(map(tokenizer.token_bytes, prompt)).decode() == case["rendered"], case["name"]
        assert prompt == case["token_ids"], case["name"]
        compared += 1
    assert compared >= 11


SWITCHES: dict[str, tuple[str, dict[bool | None, str]]] = {
    "chat_template.jinja": ("optional", {None: "", True: "", False: "<think>\n\n</think>\n\n"}),
    "chat_template.thinking.jinja": ("always", dict.fromkeys((None, True, False), "<think>\n")),
    "chat_template.nonthinking.jinja": ("never", dict.fromkeys((None, True, False), "<think>\n\n</think>\n\n")),
    "coder_like.jinja": ("never", dict.fromkeys((None, True, False), "")),
}


@pytest.mark.parametrize("template", SWITCHES)
def test_thoughts_follow_the_template(template: str, tmp_path: Path) -> None:
    qwen = QwenCheckpoint(tmp_path, template)
    reasoning, ends = SWITCHES[template]
    assert qwen.dialect.reasoning == reasoning
    for thinking, end in ends.items():
        prompt = qwen.text(qwen.dialect.render(Conversation(ASKED.messages, reasoning=thinking)))
        assert prompt.endswith("<|im_start|>assistant\n" + end)
        if reasoning == "optional" and thinking is not None:
            by_argument = Conversation(ASKED.messages, template_arguments={"enable_thinking": thinking})
            assert qwen.text(qwen.dialect.render(by_argument)) == prompt


def test_arguments_that_the_template_sets_itself_are_refused(tmp_path: Path) -> None:
    qwen = QwenCheckpoint(tmp_path)
    qwen.dialect.check_arguments({"enable_thinking": False})
    with pytest.raises(TemplateArgumentError, match="it takes enable_thinking"):
        qwen.dialect.check_arguments({"content": "x"})


def test_thoughts_of_the_tool_loop_are_given_back(tmp_path: Path) -> None:
    qwen = QwenCheckpoint(tmp_path)
    call = Message("assistant", "", reasoning="Look first.", tool_calls=(ToolCall("call_1", "f", '{"a": 1}'),))
    prompt = qwen.text(qwen.dialect.render(Conversation((*ASKED.messages, call, Message("tool", "T")))))
    assert "<think>\nLook first.\n</think>\n\n<tool_call>\n" in prompt
    assert '{"name": "f", "arguments": {"a": 1}}\n</tool_call><|im_end|>' in prompt


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


@pytest.mark.parametrize("template", ["chat_template.jinja", "coder_like.jinja"])
@pytest.mark.parametrize("arguments", ['{"a": ', "[1]", "", "null", pytest.param(nested(3000), id="deep")])
def test_earlier_arguments_that_are_no_object(template: str, arguments: str, tmp_path: Path) -> None:
    qwen = QwenCheckpoint(tmp_path, template)
    call = Message("assistant", tool_calls=(ToolCall("call_1", "f", arguments),))
    prompt = qwen.text(qwen.dialect.render(Conversation((*ASKED.messages, call, Message("tool", "T")))))
    assert arguments in prompt


@pytest.mark.parametrize("depth", range(100, 1100, 100))
def test_arguments_at_the_limits_of_recursion_are_written_or_refused(depth: int, tmp_path: Path) -> None:
    qwen = QwenCheckpoint(tmp_path, "coder_like.jinja")
    call = Message("assistant", tool_calls=(ToolCall("call_1", "f", nested(depth)),))
    with contextlib.suppress(TemplateError):
        assert '{"a":' in qwen.text(qwen.dialect.render(Conversation((*ASKED.messages, call))))


@pytest.mark.parametrize(
    ("model_type", "template", "control", "name"),
    [
        ("qwen3", "chat_template.jinja", CONTROL, "qwen3"),
        ("qwen2", None, CONTROL, "qwen3"),
        ("qwen3_next", "coder_like.jinja", CONTROL, "qwen3-coder"),
        # a distillate: the architecture without the turns
        ("qwen2", None, tuple(name for name in CONTROL if "im_" not in name), "generic"),
        ("llama", "chat_template.jinja", CONTROL, "generic"),
    ],
)
def test_which_checkpoints_are_of_the_family(
    model_type: str, template: str | None, control: tuple[str, ...], name: str, tmp_path: Path
) -> None:
    write_byte_tokenizer(tmp_path, control)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    if template is not None:
        shutil.copy(TEMPLATES / template, tmp_path / "chat_template.jinja")
    assert load_dialect(tmp_path, load_tokenizer(tmp_path)).name == name


def everywhere(text: str) -> Conversation:
    """A conversation with the text in every field that a client may fill."""
    schema: dict[str, Any] = {"type": "object", "properties": {text: {"type": "string", "description": text}}}
    call = ToolCall(text, text, json.dumps({text: text}))
    return Conversation(
        (
            Message("system", text),
            Message("user", text),
            Message("assistant", text, reasoning=text, tool_calls=(call, call)),
            Message("tool", text, tool_call_id=text),
            Message("assistant", text),
            Message("user", text),
        ),
        (Tool(text, text, schema),),
    )


@pytest.mark.parametrize("template", SWITCHES)
def test_no_field_can_forge_a_control_token(template: str, tmp_path: Path) -> None:
    qwen = QwenCheckpoint(tmp_path, template)

    def control(text: str) -> list[int]:
        return [token for token in qwen.dialect.render(everywhere(text)) if qwen.tokenizer.is_control(token)]

    harmless = control("x")
    assert len(harmless) > 12
    for text in CONTROL:
        assert control(text) == harmless, text
        assert control(f"a{text}b") == harmless, text
