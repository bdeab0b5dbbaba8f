"""Apertus' prompts: the recorded ones, every revision's way with tools, system messages, thinking on and off."""

import json
import re
from pathlib import Path

import pytest
import tokenizers
from support.dialect_checkpoints import DATA, MODELS, apertus
from support.golden import conversation_of

from server.conversation import Conversation, Message, Tool, ToolCall
from server.dialects.dialect import TemplateArgumentError, TemplateError
from server.text.tokenizer import Tokenizer

TEMPLATE = (DATA / "apertus" / "chat_template.jinja").read_text("utf-8")
# The first published revision: tools without their OpenAI wrapping, arguments as text.
FIRST = TEMPLATE.replace("tool.function.", "tool.").replace("function.arguments|tojson", "function.arguments")
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason=f"needs the published model files in {MODELS}")

ASKED = (Message("user", "Q"),)
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}


def spelled(tokenizer: Tokenizer, token_ids: list[int]) -> str:
    return b"".join(map(tokenizer.token_bytes, token_ids)).decode()


# The recorded form of the day, and of arguments that were given as text to a template that encodes them.
DATE = re.compile(r"(?<=Current date: )[^<]*")
TWICE = re.compile(r'(?<=": )"\{.*?\}"(?=\})')


def as_object(found: re.Match[str]) -> str:
    return json.dumps(json.loads(json.loads(found.group())), ensure_ascii=False)


@needs_models
@pytest.mark.parametrize("template", ["chat_template", "tool_chat_template.vllm"])
def test_recorded_prompts_from_conversations(template: str, tmp_path: Path) -> None:
    folder = MODELS / "apertus-8b-instruct"
    tokenizer, dialect = apertus(tmp_path, (folder / f"{template}.jinja").read_text("utf-8"))
    assert (dialect.name, dialect.reasoning) == ("apertus", "optional")
    inputs = json.loads((MODELS / "golden_inputs.json").read_text("utf-8"))
    golden = json.loads((folder / "golden" / f"{template}.json").read_text("utf-8"))
    oracle = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    checked = 0
    for case in golden["cases"]:
        if "rendered" not in case:
            continue  # content in parts, which never reaches a template
        case["template_kwargs"].pop("thinking", None)  # of other families; this template does not take it
        prompt = dialect.render(conversation_of(inputs[case["name"]], case))
        text = spelled(tokenizer, prompt)
        expected = TWICE.sub(as_object, case["rendered"])
        assert DATE.sub("", text) == DATE.sub("", expected), case["name"]
        assert prompt == oracle.encode(text, add_special_tokens=False).ids
        checked += 1
    assert checked >= 12


@pytest.mark.parametrize("template", [TEMPLATE, FIRST], ids=["current", "first"])
def test_every_revision_gets_tools_and_calls_in_its_way(template: str, tmp_path: Path) -> None:
    tokenizer, dialect = apertus(tmp_path, template)
    messages = (
        *ASKED,
        Message("assistant", tool_calls=(ToolCall("x", "f", '{"city":"Rome"}'), ToolCall("y", "g", ""))),
        Message("tool", '"Sunny"', tool_call_id="x"),
        Message("tool", "1", tool_call_id="y"),
    )
    said = spelled(tokenizer, dialect.render(Conversation(messages, (Tool("f", "Says it", CITY), Tool("g")))))
    assert "// Says it\ntype f = (_: {\ncity?: string\n}) => any;\n// \ntype g = () => any;<|developer_end|>" in said
    space = "" if template == FIRST else " "
    calls = f'<|tools_prefix|>[{{"f": {{"city":{space}"Rome"}}}}, {{"g": {{}}}}]<|tools_suffix|>'
    assert said.endswith(f'<|assistant_start|>{calls}["Sunny", 1]<|assistant_start|>')


def test_arguments_too_deep_to_be_read_stay_text(tmp_path: Path) -> None:
    tokenizer, dialect = apertus(tmp_path, TEMPLATE)
    deep = '{"a":' * 3000 + "1" + "}" * 3000
    messages = (*ASKED, Message("assistant", tool_calls=(ToolCall("x", "f", deep),)))
    assert json.dumps(deep) in spelled(tokenizer, dialect.render(Conversation(messages)))


def test_thinking(tmp_path: Path) -> None:
    tokenizer, dialect = apertus(tmp_path, TEMPLATE)
    for conversation, word in (
        (Conversation(ASKED), "disabled"),
        (Conversation(ASKED, reasoning=True), "enabled"),
        (Conversation(ASKED, template_arguments={"enable_thinking": True}), "enabled"),
        (Conversation(ASKED, template_arguments={"enable_thinking": True}, reasoning=True), "enabled"),
    ):
        assert f"Deliberation: {word}\n" in spelled(tokenizer, dialect.render(conversation))
    dialect.check_arguments({"enable_thinking": True})
    with pytest.raises(TemplateArgumentError, match="enable_thinking and the rest of the request differ"):
        dialect.render(Conversation(ASKED, template_arguments={"enable_thinking": True}, reasoning=False))
    with pytest.raises(TemplateArgumentError, match="'thinking' is no variable"):
        dialect.check_arguments({"thinking": True})


def test_system_messages(tmp_path: Path) -> None:
    """The template takes one, at the beginning."""
    tokenizer, dialect = apertus(tmp_path, TEMPLATE)
    for messages, system in (
        ((Message("system", "S"), *ASKED), "S"),
        ((Message("developer", "D"), *ASKED), "D"),
        ((Message("system", "S"), Message("developer", "D"), *ASKED), "S\n\nD"),
    ):
        said = spelled(tokenizer, dialect.render(Conversation(messages)))
        assert said.startswith(f"<s><|system_start|>{system}<|system_end|><|developer_start|>")
    with pytest.raises(TemplateError, match="Invalid message role"):
        dialect.render(Conversation((*ASKED, Message("system", "S"))))


def test_nothing_in_a_message_becomes_a_control_token(tmp_path: Path) -> None:
    tokenizer, dialect = apertus(tmp_path, TEMPLATE)

    def control(text: str) -> list[int]:
        call = ToolCall(text, text, text)
        schema = {"type": "object", "properties": {text: {"type": "string", "description": text, "default": text}}}
        messages = (
            Message("system", text),
            Message("user", text, name=text),
            Message("assistant", text, reasoning=text, tool_calls=(call, call)),
            Message("tool", text, tool_call_id=text),
            Message("assistant", text),
            Message("user", text + text),
        )
        prompt: list[int] = dialect.render(Conversation(messages, (Tool(text, text, schema), Tool(text))))
        return [token for token in prompt if tokenizer.is_control(token)]

    harmless = control("x")
    assert len(harmless) > 10
    for name in tokenizer.control_tokens:
        assert control(name) == harmless, name
        for cut in range(1, len(name)):
            assert control(name[cut:] + name[:cut]) == harmless
