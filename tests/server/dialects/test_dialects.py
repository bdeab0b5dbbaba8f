"""Which dialect speaks for a checkpoint, and how it turns a Conversation into a prompt."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.dialect_checkpoints import apertus, deepseek
from support.golden import conversation_of
from support.messages import thinking_model
from support.qwen_checkpoints import QwenCheckpoint

from engine import ConfigError
from server.conversation import AnswerFormat, Conversation, Message, OutputContract, Tool, ToolCall
from server.dialects.dialect import Dialect, TemplateArgumentError, TemplateError
from server.dialects.registry import load_dialect
from server.events import TextDelta
from server.text.tokenizer import load_tokenizer

DATA = Path(__file__).parents[2] / "data"
TINY_KIMI = DATA / "tiny_kimi"
TOKENIZER = load_tokenizer(TINY_KIMI)
GOLDEN = json.loads((DATA / "kimi_k2" / "golden.json").read_text(encoding="utf-8"))
COLOUR = AnswerFormat("choice", choices=("red", "blue"))
PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{{ tools | tojson }}"


def checkpoint(folder: Path, template: str | None, config: dict[str, Any] | None = None) -> Path:
    shutil.copy(TINY_KIMI / "tiktoken.model", folder)
    shutil.copy(TINY_KIMI / "tokenizer_config.json", folder)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def spelled(token_ids: list[int]) -> str:
    return b"".join(map(TOKENIZER.token_bytes, token_ids)).decode()


# One revision encodes arguments itself, so that it was recorded to encode text once more; it is given objects.
ENCODED_TWICE = r'(?<=<\|tool_call_argument_begin\|>)".*?"(?=<\|tool_call_end\|>)'


def as_object(found: re.Match[str]) -> str:
    return json.dumps(json.loads(json.loads(found.group())), ensure_ascii=False)


@pytest.mark.parametrize("revision", [name for name in GOLDEN["templates"] if "llamacpp" not in name])
def test_kimi_golden_from_conversations(revision: str, tmp_path: Path) -> None:
    template = (DATA / "kimi_k2" / revision).read_text(encoding="utf-8")
    dialect = load_dialect(checkpoint(tmp_path, template), TOKENIZER)
    assert dialect.name == "kimi"
    # Where tools were recorded both ways, the family's own way is with sorted keys.
    expected = {case["name"]: case for case in GOLDEN["templates"][revision]}
    expected |= {case["name"]: case for case in GOLDEN["templates"][revision] if case["variant"] == "tools_deep_sorted"}
    for name, case in expected.items():
        if name == "tool_roundtrip_null_content":
            case = expected["tool_roundtrip_empty_content"]  # no content and empty content render alike: as nothing
        rendered = case["rendered"]
        if revision.endswith("2025-07-15.jinja"):
            rendered = re.sub(ENCODED_TWICE, as_object, rendered)
        assert spelled(dialect.render(conversation_of(GOLDEN["inputs"][name], case))) == rendered, name


@pytest.mark.parametrize(
    ("config", "name"), [({"model_type": "kimi_k2"}, "kimi"), ({"model_type": "deepseek_v3"}, "kimi"), (None, "kimi")]
)
def test_kimi_is_known_by_type_or_tokens(tmp_path: Path, config: dict[str, Any] | None, name: str) -> None:
    assert load_dialect(checkpoint(tmp_path, PLAIN, config), TOKENIZER).name == name


class Other:
    """A tokenizer without Kimi's tokens; one token a character."""

    vocab_size = 0x110000
    control_tokens = {"<|end|>": 0x10FFFF}  # noqa: RUF012

    def encode(self, text: str) -> list[int]:
        return [ord(character) for character in text]

    def is_control(self, token_id: int) -> bool:
        return token_id == 0x10FFFF

    def token_bytes(self, token_id: int) -> bytes:
        return b"<|end|>" if self.is_control(token_id) else chr(token_id).encode()


def generic(tmp_path: Path, template: str) -> Dialect:
    (tmp_path / "chat_template.jinja").write_text(template)
    dialect = load_dialect(tmp_path, Other())
    assert dialect.name == "generic"
    return dialect


def test_generic_dialect_and_its_control_tokens(tmp_path: Path) -> None:
    dialect = generic(tmp_path, "{% for m in messages %}{{ m.content }}<|end|>{% endfor %}")
    prompt = dialect.render(Conversation((Message("user", "a<|end|>"), Message("assistant", ""))))
    assert prompt == [*map(ord, "a<|end|>"), 0x10FFFF, 0x10FFFF]


def test_developer_is_system_unless_the_template_knows_it(tmp_path: Path) -> None:
    asked = Conversation((Message("developer", "x"),))
    assert generic(tmp_path, PLAIN).render(asked) == [*map(ord, "system: x\nnull")]
    knows = "{# developer #}" + PLAIN
    assert generic(tmp_path, knows).render(asked) == [*map(ord, "developer: x\nnull")]


def test_variables_are_absent_where_messages_have_none(tmp_path: Path) -> None:
    dialect = generic(tmp_path, "{{ messages | tojson }}{{ tools | tojson }}{{ x }}")
    call = ToolCall("i", "f", "{}")
    asked = Conversation(
        (
            Message("user", "q", name="n"),
            Message("assistant", reasoning="r", tool_calls=(call,)),
            Message("tool", "t", tool_call_id="i"),
        ),
        tools=(Tool("f"), Tool("g", "d", {"type": "object"}, strict=True)),
        template_arguments={"x": "X"},
    )
    messages = [
        {"role": "user", "content": "q", "name": "n"},
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "r",
            # an object, since this template would encode text once more
            "tool_calls": [{"id": "i", "type": "function", "function": {"name": "f", "arguments": {}}}],
        },
        {"role": "tool", "content": "t", "tool_call_id": "i"},
    ]
    tools = [
        {"type": "function", "function": {"name": "f"}},
        {
            "type": "function",
            "function": {"name": "g", "description": "d", "parameters": {"type": "object"}, "strict": True},
        },
    ]
    assert "".join(map(chr, dialect.render(asked))) == f"{json.dumps(messages)}{json.dumps(tools)}X"


@pytest.mark.parametrize("name", ["messages", "tools", "add_generation_prompt", "range"])
def test_template_arguments_cannot_replace_the_conversation(tmp_path: Path, name: str) -> None:
    dialect = generic(tmp_path, PLAIN)
    with pytest.raises(TemplateError, match=f"'{name}' cannot be set"):
        dialect.render(Conversation((Message("user", "x"),), template_arguments={name: "y"}))


@pytest.fixture(params=["kimi", "deepseek", "apertus", "qwen3"])
def switched(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, str]:
    """A dialect of each family whose thinking is optional, and what its template calls the switch."""
    if request.param == "kimi":
        return thinking_model(tmp_path / "model").dialect, "thinking"
    if request.param == "deepseek":
        template = (DATA / "deepseek" / "chat_template.v3.1.jinja").read_text("utf-8")
        return deepseek(tmp_path, template)[1], "thinking"
    if request.param == "apertus":
        return apertus(tmp_path, (DATA / "apertus" / "chat_template.jinja").read_text("utf-8"))[1], "enable_thinking"
    return QwenCheckpoint(tmp_path).dialect, "enable_thinking"


def test_what_is_said_of_thinking_must_agree(switched: tuple[Any, str]) -> None:
    dialect, switch = switched
    asked = (Message("user", "Q"),)
    for wanted in (True, False):
        alone = dialect.render(Conversation(asked, reasoning=wanted))
        assert dialect.render(Conversation(asked, template_arguments={switch: wanted})) == alone
        both = Conversation(asked, template_arguments={switch: wanted}, reasoning=wanted)
        assert dialect.render(both) == alone
        differing = Conversation(asked, template_arguments={switch: not wanted}, reasoning=wanted)
        for work in (dialect.render, lambda said: dialect.grammar(said, OutputContract(format=COLOUR))):
            with pytest.raises(TemplateArgumentError, match=f"{switch} and the rest of the request differ"):
                work(differing)


@pytest.mark.parametrize("value", [1, 0, "yes", "", None, [True]])
def test_a_switch_of_thinking_is_true_or_false(switched: tuple[Any, str], value: Any, tmp_path: Path) -> None:
    dialect, switch = switched
    dialect.check_arguments({switch: True})
    with pytest.raises(TemplateArgumentError, match=rf"kwargs\.{switch} must be true or false, not"):
        dialect.check_arguments({switch: value})
    for name in ("thinking", "enable_thinking"):
        with pytest.raises(TemplateArgumentError, match=rf"kwargs\.{name} must be true or false, not"):
            generic(tmp_path, f"{{{{ {name} }}}}").check_arguments({name: value})


@pytest.mark.parametrize("tokenizer", [TOKENIZER, Other()], ids=["kimi", "generic"])
def test_base_model(tmp_path: Path, tokenizer: Any) -> None:
    dialect = load_dialect(tmp_path, tokenizer)
    with pytest.raises(TemplateError, match="base model without a chat template"):
        dialect.render(Conversation((Message("user", "x"),)))


def test_damaged_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"config\.json should hold a JSON object"):
        load_dialect(tmp_path, TOKENIZER)


def test_output_is_text_without_control_tokens(tmp_path: Path) -> None:
    parser = load_dialect(checkpoint(tmp_path, PLAIN), TOKENIZER).output_parser(Conversation(()), OutputContract())
    token_ids = TOKENIZER.encode("né[EOS]e 漢😀")
    middle = TOKENIZER.control_tokens["<|im_middle|>"]
    deltas = [delta for token in token_ids for delta in parser.feed([middle, token])] + parser.flush(cut=False)
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == "né[EOS]e 漢😀"
