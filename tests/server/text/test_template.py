"""Chat templates: the helpers they expect, their bounds, and that only their own literals become control tokens."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import ConfigError
from server.text.template import ChatTemplate, TemplateError, load_template
from server.text.tokenizer import load_tokenizer

DATA = Path(__file__).parents[2] / "data"
TINY_KIMI = DATA / "tiny_kimi"
TOKENIZER = load_tokenizer(TINY_KIMI)
CONTROL = TOKENIZER.control_tokens
GOLDEN = json.loads((DATA / "kimi_k2" / "golden.json").read_text(encoding="utf-8"))


def render(source: str, **variables: Any) -> list[str | int]:
    return ChatTemplate(source, TOKENIZER).render({"messages": [], **variables})


def text(source: str, **variables: Any) -> str:
    template = ChatTemplate(source, TOKENIZER)
    return template.text(template.render({"messages": [], **variables}))


# --- golden files ---------------------------------------------------------------------------------------------------


def golden_cases() -> Iterator[Any]:
    for name, cases in GOLDEN["templates"].items():
        for case in cases:
            yield pytest.param(name, case, id=f"{name}-{case['name']}-{case['variant']}")


@pytest.mark.parametrize(("name", "case"), list(golden_cases()))
def test_kimi_golden(name: str, case: dict[str, Any]) -> None:
    template = ChatTemplate((DATA / "kimi_k2" / name).read_text(encoding="utf-8"), TOKENIZER)
    given = GOLDEN["inputs"][case["name"]]
    tools = given["tools"]
    if case["variant"] == "tools_deep_sorted":
        tools = json.loads(json.dumps(tools, sort_keys=True))
    arguments = {key: value for key, value in case["template_kwargs"].items() if "thinking" in key}
    variables = {"messages": given["messages"], "tools": tools, **arguments}
    variables["add_generation_prompt"] = case["add_generation_prompt"]
    if "error" in case:
        with pytest.raises(TemplateError, match=case["error"].partition(":")[0]):
            template.render(variables)
    else:
        assert template.text(template.render(variables)) == case["rendered"]


# --- helpers --------------------------------------------------------------------------------------------------------


def test_tojson_neither_sorts_nor_escapes() -> None:
    value = {"b": "<é & '\"", "a": [1, None, True]}
    assert text("{{ x | tojson }}", x=value) == json.dumps(value, ensure_ascii=False)
    assert text("{{ x | tojson(separators=(',', ':')) }}", x={"b": 1, "a": 2}) == '{"b":1,"a":2}'
    assert text("{{ x | tojson(indent=2, sort_keys=true, ensure_ascii=true) }}", x={"b": "é", "a": 2}) == (
        '{\n  "a": 2,\n  "b": "\\u00e9"\n}'
    )


def test_loop_controls_namespace_macro_slice_and_generation() -> None:
    source = """
    {%- macro twice(value) -%}{{ value }}{{ value }}{%- endmacro -%}
    {%- set seen = namespace(last=-1) -%}
    {%- for item in items -%}
      {%- if item == 'skip' %}{% continue %}{% endif -%}
      {%- if item == 'stop' %}{% break %}{% endif -%}
      {%- set seen.last = loop.index0 -%}
      {% generation %}{{ twice(item) }}{% endgeneration %}
    {%- endfor -%}
    {{ seen.last }}{{ items[1:3] | join('+') }}{{ message.get('x', 'none') }}"""
    items = ["a", "skip", "b", "stop", "c"]
    assert text(source, items=items, message={}).strip() == "aabb2skip+bnone"


def test_strftime_now() -> None:
    template = ChatTemplate("{{ strftime_now('%d %B %Y') }}", TOKENIZER, now=lambda: datetime(2025, 7, 11))
    assert template.render({"messages": []}) == ["11 July 2025"]


def test_raise_exception_reaches_the_client_as_it_is() -> None:
    with pytest.raises(TemplateError, match=r"^Roles must alternate\.$"):
        render(
            "{% if messages == ['now'] %}{{ raise_exception('Roles must alternate.') }}{% endif %}", messages=["now"]
        )


def test_special_tokens_are_control_tokens() -> None:
    template = ChatTemplate("{{ bos_token + x }}{{ eos_token }}", TOKENIZER, {"bos_token": "[BOS]", "eos_token": "."})
    assert template.render({"x": "[BOS]"}) == [CONTROL["[BOS]"], "[BOS]."]
    with pytest.raises(TemplateError, match="'bos_token' cannot be set"):
        template.render({"bos_token": "x"})


@pytest.mark.parametrize("name", ["raise_exception", "namespace", "range", "strftime_now"])
def test_helpers_cannot_be_replaced(name: str) -> None:
    with pytest.raises(TemplateError, match=name):
        render("x", **{name: "y"})


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_output_is_bounded() -> None:
    template = ChatTemplate(
        "{% for a in x %}{% for b in x %}{{ b }}{% endfor %}{% endfor %}", TOKENIZER, max_chars=10_000
    )
    assert template.render({"x": ["aaaaaaaaaa"] * 10}) == ["a" * 1000]
    with pytest.raises(TemplateError, match="more than 10,000 characters"):
        template.render({"x": ["a"] * 5000})


@pytest.mark.parametrize(
    "source",
    ["{{ 'ab' * n }}", "{{ n * [1] }}", "{{ 2 ** n }}", "{% for i in range(n) %}{% endfor %}", "{{ x.append(1) }}"],
)
def test_what_the_sandbox_refuses(source: str) -> None:
    with pytest.raises(TemplateError, match="cannot write this conversation"):
        render(source, n=10**9, x=[])


def test_deeply_nested_arguments() -> None:
    nested: Any = []
    for _ in range(20_000):
        nested = [nested]
    with pytest.raises(TemplateError, match="RecursionError"):
        render("{{ x | tojson }}", x=nested)


def test_templates_see_plain_data_only() -> None:
    with pytest.raises(TemplateError, match="plain data only, not a"):
        render("{{ x }}", x=Path("/"))


# --- finding it -----------------------------------------------------------------------------------------------------


def test_where_templates_are_found(tmp_path: Path) -> None:
    assert load_template(tmp_path, TOKENIZER) is None
    config = tmp_path / "tokenizer_config.json"
    for value in ("A", [{"name": "tool_use", "template": "B"}, {"name": "default", "template": "A"}]):
        config.write_text(json.dumps({"chat_template": value, "bos_token": {"content": "[BOS]"}}))
        found = load_template(tmp_path, TOKENIZER)
        assert found is not None
        assert found.source == "A"
    (tmp_path / "chat_template.jinja").write_text("{{ bos_token }}")
    found = load_template(tmp_path, TOKENIZER)
    assert found is not None
    assert found.render({}) == [CONTROL["[BOS]"]]


@pytest.mark.parametrize(
    "value", [5, [{"name": "tool_use", "template": "B"}], [1], [{"name": "default", "template": 1}]]
)
def test_no_usable_template(tmp_path: Path, value: Any) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": value}))
    with pytest.raises(ConfigError, match="chat_template"):
        load_template(tmp_path, TOKENIZER)


@pytest.mark.parametrize("source", ["{% if %}", "{{ x", "{% endfor %}", "{{ x | nofilter }}"])
def test_template_that_does_not_compile(source: str) -> None:
    with pytest.raises(ConfigError, match="does not compile"):
        ChatTemplate(source, TOKENIZER)


# --- whose control tokens -------------------------------------------------------------------------------------------

END = "<|im_end|>"


def test_pieces() -> None:
    source = "<|im_user|>{{ name }}{{ '<|im_middle|>' + content }}<|im_end|>\n"
    assert render(source, name="u", content=f"a{END}b") == [
        *(CONTROL["<|im_user|>"], "u", CONTROL["<|im_middle|>"], f"a{END}b", CONTROL[END]),
    ]


JOINS = [
    "{{ a }}{{ b }}",
    "{{ a + b }}",
    "{{ a ~ b }}",
    "{{ [a, b] | join }}",
    "{{ '%s%s' % (a, b) }}",
    "{{ '{}{}'.format(a, b) }}",
    "{% set x = a %}{% set x = x + b %}{{ x }}",
    "{{ a }}{# nothing #}{{ b }}",
    "{{ (a + '|' + b).replace('|', '', 1) if '|' not in a else a + b }}",
    "{% macro put(x) %}{{ x }}{% endmacro %}{{ put(a) }}{{ put(b) }}",
    "{{ (a + ' ').strip() }}{{ (' ' + b) | trim }}",
]


@pytest.mark.parametrize("source", JOINS)
def test_text_joined_from_parts_stays_text(source: str) -> None:
    template = ChatTemplate(source, TOKENIZER)
    for token in [*list(CONTROL)[:30], "[PAD]"]:
        for cut in range(len(token) + 1):
            pieces = template.render({"a": token[:cut], "b": token[cut:]})
            assert not any(isinstance(piece, int) for piece in pieces), pieces


@pytest.mark.parametrize(
    ("source", "value"),
    [("[{{ x }}]", "EOS"), ("<|{{ x }}|>", "im_end"), ("<|im_{{ x }}", "end|>"), ("{{ x }}]", "[EOS")],
)
def test_text_cannot_complete_what_the_template_begins(source: str, value: str) -> None:
    """The template's text and a user's next to it, where the template means no control token."""
    assert not any(isinstance(piece, int) for piece in render(source, x=value))


def test_literals_that_are_looked_for_match_users_text() -> None:
    source = "{% if '</think>' in x %}{{ x.split('</think>')[-1] }}{% endif %}{{ x.startswith('<think>') }}</think>"
    pieces = render(source, x="<think>plan</think>do")
    assert pieces == ["doTrue</think>"]  # this vocabulary has no </think>
    source = source.replace("</think>", END).replace("<think>", "[BOS]")
    assert render(source, x=f"[BOS]plan{END}do") == ["doTrue", CONTROL[END]]
    assert render("{{ x.replace('[BOS]', '[EOS]') }}", x="[BOS]") == [CONTROL["[EOS]"]]
    assert render("{{ x | replace('[BOS]', '') }}{{ x == '[BOS]' }}{{ x in ['[BOS]'] }}", x="[BOS]") == ["TrueTrue"]


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}<|im_{{ m.role }}|>{{ m.content }}{% endfor %}",
        "{% for m in messages %}{{ '<|im_' + m['role'] + '|>' + m['content'] }}{% endfor %}",
        "{% set e = 'end' %}{% for m in messages %}{{ m.content }}{{ '<|im_' ~ e ~ '|>' }}{% endfor %}",
    ],
)
def test_templates_that_build_control_tokens_are_refused(source: str) -> None:
    with pytest.raises(ConfigError, match="from parts"):
        ChatTemplate(source, TOKENIZER)


@given(
    st.lists(
        st.sampled_from(["<|im_", "end|>", END, "[B", "OS]", "[BOS]", "\udc00", "\udc01", "\ud800", "{{ x }}", "a"]),
        max_size=8,
    ).map("".join)
)
def test_surrogates_are_no_way_in(value: str) -> None:
    pieces = KIMI.render(
        {"messages": [{"role": "user", "name": value, "content": [{"type": "text", "text": value}] * 2}]}
    )
    assert [piece for piece in pieces if isinstance(piece, int)] == [
        *(CONTROL[name] for name in ("<|im_system|>", "<|im_middle|>", END, "<|im_user|>", "<|im_middle|>", END)),
    ]
    clean = KIMI.text(pieces).encode()  # nothing is left that UTF-8 cannot carry
    assert value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode() in clean


KIMI = ChatTemplate((TINY_KIMI / "chat_template.jinja").read_text(encoding="utf-8"), TOKENIZER)
