"""DeepSeek's prompts: the recorded ones, tools where the template leaves them out, reasoning on and off."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from support.dialect_checkpoints import DATA, MODELS, deepseek
from support.golden import conversation_of

from server.conversation import Conversation, Message, OutputContract, Tool, ToolCall, ToolChoice
from server.dialects.registry import load_dialect
from server.json_schema import NO_PARAMETERS
from server.text.tokenizer import Tokenizer, load_tokenizer

V3 = (DATA / "deepseek" / "chat_template.v3.jinja").read_text("utf-8")
V31 = (DATA / "deepseek" / "chat_template.v3.1.jinja").read_text("utf-8")
R1 = V3.replace("{{'<｜Assistant｜>'}}{% endif %}", "{{'<｜Assistant｜><think>\\n'}}{% endif %}")  # of February 2025
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason=f"needs the published model files in {MODELS}")

WEATHER = Tool("get_weather", "Says <it>", {"type": "object", "properties": {"city": {"type": "string"}}})
CALLING = Message("assistant", tool_calls=(ToolCall("x", "get_weather", '{"city": "Rome"}'),))
ASKED = (Message("user", "Q"),)
ANSWERED = (*ASKED, CALLING, Message("tool", "Sunny", tool_call_id="x"))


def spelled(tokenizer: Tokenizer, token_ids: list[int]) -> str:
    return b"".join(map(tokenizer.token_bytes, token_ids)).decode()


# Templates that encode arguments themselves were recorded with text, which they encode once more; they get objects.
TWICE = re.compile(r'(?<=```json\n)".*?"(?=\n```)|(?<=<｜tool▁sep｜>)"\{.*?\}"(?=<｜tool▁call▁end｜>)')


def as_object(found: re.Match[str]) -> str:
    return json.dumps(json.loads(json.loads(found.group())), ensure_ascii=False)


REVISIONS = ("chat_template", "tool_chat_template.sglang", "tool_chat_template.vllm")


@needs_models
@pytest.mark.parametrize(
    ("family", "template"),
    [
        *(("deepseek-v3", revision) for revision in REVISIONS),
        *(("deepseek-v3.1", revision) for revision in REVISIONS),
        ("deepseek-r1", "tool_chat_template.vllm"),
    ],
)
def test_recorded_prompts_from_conversations(family: str, template: str, tmp_path: Path) -> None:
    tokenizer, dialect = deepseek(tmp_path, (MODELS / family / f"{template}.jinja").read_text("utf-8"))
    oracle = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert dialect.name == "deepseek"
    inputs = json.loads((MODELS / "golden_inputs.json").read_text("utf-8"))
    golden = json.loads((MODELS / family / "golden" / f"{template}.json").read_text("utf-8"))
    checked = 0
    for case in golden["cases"]:
        given = dict(inputs[case["name"]])
        if template == "chat_template":
            given["tools"] = None  # it leaves them out; what the dialect writes instead has a test of its own
        if "rendered" not in case:
            continue  # content in parts and objects, which never reach a template
        prompt = dialect.render(conversation_of(given, case))
        expected = TWICE.sub(as_object, case["rendered"])
        assert spelled(tokenizer, prompt) == expected, case["name"]
        assert prompt == oracle.encode(expected, add_special_tokens=False).ids
        checked += 1
    assert checked >= 11


@needs_models
def test_tools_are_declared_in_the_words_of_the_published_tool_template(tmp_path: Path) -> None:
    """V3.1's own words are those of the templates that people add to it."""
    tokenizer, dialect = deepseek(tmp_path, V31)
    inputs = json.loads((MODELS / "golden_inputs.json").read_text("utf-8"))
    golden = json.loads((MODELS / "deepseek-v3.1" / "golden" / "tool_chat_template.vllm.json").read_text("utf-8"))
    for name in ("tools_declared", "tools_html_unicode"):
        case = next(case for case in golden["cases"] if case["name"] == name)
        prompt = dialect.render(conversation_of(inputs[name], case))
        expected, ours = (text.partition("<｜User｜>")[0] for text in (case["rendered"], spelled(tokenizer, prompt)))
        assert ours == expected.lstrip("\n")
        begins = tokenizer.control_tokens["<｜tool▁calls▁begin｜>"]
        assert prompt.index(begins) < prompt.index(tokenizer.control_tokens["<｜User｜>"])


def test_tools_in_json_before_v31(tmp_path: Path) -> None:
    tokenizer, dialect = deepseek(tmp_path, V3)
    asked = (Message("system", "S"), *ASKED)
    function = {"name": "get_weather", "description": "Says <it>", "parameters": WEATHER.parameters}
    assert spelled(tokenizer, dialect.render(Conversation(asked, (WEATHER, Tool("g"))))) == (
        "<｜begin▁of▁sentence｜>S\n\n## Tools\n\n### Function\n\nYou have the following functions available:\n\n"
        f"- `get_weather`:\n```json\n{json.dumps(function, indent=4)}\n```\n\n"
        f"- `g`:\n```json\n{json.dumps({'name': 'g', 'parameters': NO_PARAMETERS}, indent=4)}\n```"
        "<｜User｜>Q<｜Assistant｜>"
    )


@pytest.mark.parametrize("template", [V3, V31])
def test_text_around_the_tools_is_encoded_as_one(template: str, tmp_path: Path) -> None:
    tokenizer, dialect = deepseek(tmp_path, template)
    prompt = dialect.render(Conversation((Message("system", "x\n"), *ASKED), (Tool("}<｜User｜>", "<think>"),)))
    users = tokenizer.control_tokens["<｜User｜>"]
    assert prompt.count(users) == 1
    assert tokenizer.control_tokens["<think>"] not in prompt
    end = tokenizer.control_tokens["<｜tool▁calls▁begin｜>"] if template == V31 else users
    head = prompt[1 : prompt.index(end)]
    assert head == tokenizer.encode(spelled(tokenizer, head))


def test_v31_thinks_if_told_so(tmp_path: Path) -> None:
    tokenizer, dialect = deepseek(tmp_path, V31)
    think, end = (tokenizer.control_tokens[name] for name in ("<think>", "</think>"))
    assert dialect.reasoning == "optional"
    for conversation, last in (
        (Conversation(ASKED), end),
        (Conversation(ASKED, reasoning=True), think),
        (Conversation(ASKED, template_arguments={"thinking": True}), think),
        (Conversation(ASKED, template_arguments={"thinking": True}, reasoning=True), think),
    ):
        assert dialect.render(conversation)[-1] == last
        parser = dialect.output_parser(conversation, OutputContract())
        parser.feed(tokenizer.encode("Hm"))
        assert parser.reasoning_tokens == (2 if last == think else 0)
    dialect.check_arguments({"thinking": True})


@pytest.mark.parametrize("messages", [ANSWERED, (*ASKED, Message("assistant", "A")), (Message("system", "S"),)])
def test_v31_opens_thoughts_only_behind_a_question(messages: tuple[Message, ...], tmp_path: Path) -> None:
    tokenizer, dialect = deepseek(tmp_path, V31)
    conversation = Conversation(messages, reasoning=True)
    assert tokenizer.control_tokens["<think>"] not in dialect.render(conversation)
    parser = dialect.output_parser(conversation, OutputContract())
    parser.feed(tokenizer.encode("Hm"))
    assert (parser.reasoning_tokens, parser.in_text) == (0, True)


def test_r1_is_known_by_its_template_or_by_name(tmp_path: Path) -> None:
    tokenizer, opening = deepseek(tmp_path / "1", R1)
    assert (opening.name, opening.reasoning) == ("deepseek-r1", "always")
    prompt = opening.render(Conversation(ASKED))
    assert spelled(tokenizer, prompt).endswith("<｜Assistant｜><think>\n")
    _, plain = deepseek(tmp_path / "2", V3)
    assert (plain.name, plain.reasoning) == ("deepseek", "never")
    _, named = deepseek(tmp_path / "3", V3, name="deepseek-r1")
    assert (named.name, named.reasoning) == ("deepseek-r1", "always")
    required = OutputContract(tool_choice=ToolChoice("required"))
    grammars = [one.grammar(Conversation(ASKED, (WEATHER,)), required) for one in (opening, plain, named)]
    assert [bool(grammar.begin_after) for grammar in grammars] == [True, False, False]
    assert ["thoughts" in grammar.source for grammar in grammars] == [False, False, True]


def test_tools_that_say_little_and_arguments_that_are_no_json(tmp_path: Path) -> None:
    wants_all = (
        "{% for tool in tools %}{{ tool.function.description + tool.function.parameters | tojson }}{% endfor %}"
        "{% for m in messages %}<｜User｜>{{ m.content }}{% endfor %}"
    )
    tokenizer, dialect = deepseek(tmp_path / "1", wants_all)
    assert '{"type": "object"' in spelled(tokenizer, dialect.render(Conversation(ASKED, (Tool("f"),))))
    tokenizer, dialect = deepseek(tmp_path / "2", V31)
    broken = Message("assistant", tool_calls=(ToolCall("x", "f", '{"a'),))
    said = spelled(tokenizer, dialect.render(Conversation((*ASKED, broken))))
    assert '<｜tool▁sep｜>{"a<｜tool▁call▁end｜>' in said


def test_an_answer_without_text_is_none_where_the_template_would_write_it_twice(tmp_path: Path) -> None:
    """As R1's first templates do."""
    twice = (
        "{% for message in messages %}{% if message['tool_calls'] %}<｜tool▁calls▁begin｜>{% endif %}"
        "{% if message['content'] is not none %}<｜Assistant｜>{{ message['content'] }}{% endif %}{% endfor %}"
    )
    tokenizer, dialect = deepseek(tmp_path, twice)
    assert spelled(tokenizer, dialect.render(Conversation((CALLING,)))) == "<｜tool▁calls▁begin｜>"


@pytest.mark.parametrize("template", [V3, V31, R1], ids=["v3", "v3.1", "r1"])
def test_nothing_in_a_message_becomes_a_control_token(template: str, tmp_path: Path) -> None:
    tokenizer, dialect = deepseek(tmp_path, template)

    def control(text: str) -> list[int]:
        call = ToolCall(text, text, text)
        messages = (
            Message("system", text),
            Message("user", text, name=text),
            Message("assistant", text, reasoning=text, tool_calls=(call, call)),
            Message("tool", text, tool_call_id=text),
            Message("assistant", text),
            Message("user", text + text),
        )
        prompt: list[int] = dialect.render(Conversation(messages, (Tool(text, text, {text: text}), Tool(text))))
        return [token for token in prompt if tokenizer.is_control(token)]

    harmless = control("x")
    assert len(harmless) > 10
    for name in tokenizer.control_tokens:
        assert control(name) == harmless, name
        for cut in range(1, len(name)):
            assert control(name[cut:] + name[:cut]) == harmless


def test_the_tokenizer_decides(tmp_path: Path) -> None:
    """Moonlight, of the same architecture, speaks Kimi's dialect."""
    shutil.copytree(DATA / "tiny_kimi", tmp_path / "kimi")
    (tmp_path / "kimi" / "config.json").write_text('{"model_type": "deepseek_v3"}')
    assert load_dialect(tmp_path / "kimi", load_tokenizer(tmp_path / "kimi")).name == "kimi"


def test_a_base_model(tmp_path: Path) -> None:
    deepseek(tmp_path, V3)
    (tmp_path / "chat_template.jinja").unlink()
    dialect: Any = load_dialect(tmp_path, load_tokenizer(tmp_path))
    assert (dialect.name, dialect.takes_messages) == ("deepseek", False)
