"""An agent's loop in Anthropic's protocol through the real server, whose model is random: whatever it would have liked
to say, its calls are valid and its answers have the format that was asked for."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import jsonschema
import pytest
from support.serving import Server, serving

MARKERS = ("<|tool_call", "<|im_", "[EOS]")
TOOLS: list[Any] = [
    {
        "name": "book_table",
        "description": "Books a table",
        "input_schema": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 12},
                "people": {"type": "integer", "minimum": 1, "maximum": 20},
                "dishes": {"type": "array", "items": {"enum": ["rösti", "fondue"]}, "maxItems": 3},
            },
            "required": ["city", "people"],
        },
    },
    {"name": "list_tables", "input_schema": {"type": "object", "properties": {}}},
]
SCHEMAS = {tool["name"]: tool["input_schema"] for tool in TOOLS}
ASKED: dict[str, Any] = {"model": "claude-sonnet-5", "max_tokens": 400, "tools": TOOLS}


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("log") / "server.log"
    flags = ["--served-model-name", "tiny", "--dtype", "float32", "--max-model-len", "4096", "--max-json-string", "16"]
    with serving(tiny_checkpoint, log, *flags, "--model-alias", "claude-*") as server:
        yield server


@pytest.fixture
def client(served: Server) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=served.url, api_key="none", max_retries=0) as client:
        yield client


def check(message: Any) -> list[Any]:
    """The calls of an answer, all of them valid unless it was cut."""
    calls = [block for block in message.content if block.type == "tool_use"]
    assert not any(marker in message.to_json() for marker in MARKERS)
    if message.stop_reason != "max_tokens":
        assert message.stop_reason == ("tool_use" if calls else "end_turn")
        for call in calls:
            jsonschema.validate(call.input, SCHEMAS[call.name])
    return calls


def result(call: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call.id, "content": json.dumps({"free": 3})}


@pytest.mark.parametrize("stream", [False, True])
def test_an_agents_loop(client: anthropic.Anthropic, stream: bool) -> None:
    messages: list[Any] = [{"role": "user", "content": "A table for two in Zürich, please."}]
    choices: list[Any] = [
        {"type": "any", "disable_parallel_tool_use": True},
        {"type": "tool", "name": "list_tables", "disable_parallel_tool_use": True},
        {"type": "any"},
        {"type": "none"},
    ]
    cached = 0
    for choice in choices:
        fields = {**ASKED, "messages": messages, "tool_choice": choice}
        if stream:
            with client.messages.stream(**fields) as events:
                answer = events.get_final_message()
        else:
            answer = client.messages.create(**fields)
        calls = check(answer)
        cached += answer.usage.cache_read_input_tokens or 0
        if choice["type"] == "none":
            assert not calls
            break
        if answer.stop_reason == "max_tokens":
            continue
        assert calls
        if choice.get("disable_parallel_tool_use"):
            assert len(calls) == 1
        assert choice["type"] != "tool" or calls[0].name == "list_tables"
        counted = client.messages.count_tokens(model=ASKED["model"], messages=messages, tools=TOOLS, tool_choice=choice)
        usage = answer.usage
        assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)
        messages += [
            {"role": "assistant", "content": answer.content},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": call.id, "content": json.dumps({"free": 3})}
                    for call in calls
                ],
            },
        ]
    assert cached > 0  # each turn finds what the turn before left


def test_a_format(client: anthropic.Anthropic) -> None:
    schema = {"type": "object", "properties": {"sunny": {"type": "boolean"}}, "required": ["sunny"]}
    answer = client.messages.create(
        model="tiny",
        max_tokens=100,
        messages=[{"role": "user", "content": "The weather?"}],
        output_config={"format": {"type": "json_schema", "schema": schema | {"additionalProperties": False}}},
    )
    assert answer.content[0].type == "text"
    jsonschema.validate(json.loads(answer.content[0].text), schema)


def test_an_answer_ends_with_the_context(client: anthropic.Anthropic) -> None:
    def words(count: int) -> list[Any]:
        return [{"role": "user", "content": "x " * count}]

    def count(number: int) -> int:
        return client.messages.count_tokens(model="tiny", messages=words(number)).input_tokens

    each = count(2) - count(1)
    most = (4096 - count(0)) // each
    answer = client.messages.create(model="tiny", max_tokens=4000, messages=words(most - 20))
    assert answer.usage.output_tokens <= 20 * each + each
    assert answer.stop_reason in ("end_turn", "model_context_window_exceeded")
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
        client.messages.create(model="tiny", max_tokens=1, messages=words(most + 1))
