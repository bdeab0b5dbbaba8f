"""Tool calls and formats through the real server, whose model is random: whatever it would have liked to say, what
leaves is valid."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.serving import Server, serving

BFCL = Path(__file__).parents[3] / "shared" / "data" / "toolcalls" / "bfcl_v4"
MARKERS = ("<|tool_call", "<|im_", "[EOS]")

# For where the published requests are not at hand.
OWN: list[dict[str, Any]] = [
    {
        "messages": [{"role": "user", "content": "Book a table for two in Zürich."}],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "book-table.v2",
                    "parameters": {
                        "type": "object",
                        "properties": {
                            "city": {"type": "string", "maxLength": 12},
                            "people": {"type": "integer", "minimum": 1, "maximum": 20},
                            "when": {"type": "string", "format": "date"},
                            "dishes": {"type": "array", "items": {"enum": ["rösti", "fondue"]}, "maxItems": 3},
                        },
                        "required": ["city", "people"],
                    },
                },
            },
            {"type": "function", "function": {"name": "nothing", "parameters": {"type": "object", "properties": {}}}},
        ],
    }
]


def published() -> list[dict[str, Any]]:
    found = list(OWN)
    for name in ("simple_python", "live_multiple", "parallel_multiple"):
        file = BFCL / f"{name}.openai.jsonl"
        if file.is_file():
            found += [json.loads(line) for line in file.read_text("utf-8").splitlines()[:1]]
    return found


@pytest.fixture(scope="module")
def limited(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose random model is kept from endless strings."""
    log = tmp_path_factory.mktemp("log") / "server.log"
    flags = ["--served-model-name", "tiny", "--dtype", "float32", "--max-model-len", "8192", "--max-json-string", "16"]
    with serving(tiny_checkpoint, log, *flags) as server:
        yield server


def ask(server: Server, **fields: Any) -> dict[str, Any]:
    answer = server.post("/v1/chat/completions", {"model": "tiny", "max_tokens": 600, **fields})
    assert answer.status_code == 200, answer.text
    choice: dict[str, Any] = answer.json()["choices"][0]
    return {**choice["message"], "finish_reason": choice["finish_reason"]}


def ask_streamed(server: Server, **fields: Any) -> dict[str, Any]:
    answer = server.post("/v1/chat/completions", {"model": "tiny", "max_tokens": 600, "stream": True, **fields})
    assert answer.status_code == 200, answer.text
    message: dict[str, Any] = {"content": "", "tool_calls": []}
    for line in answer.text.splitlines():
        if not line.startswith("data: {"):
            continue
        for choice in json.loads(line.removeprefix("data: "))["choices"]:
            message["content"] += choice["delta"].get("content") or ""
            message["finish_reason"] = choice["finish_reason"]
            for call in choice["delta"].get("tool_calls", ()):
                if "id" in call:
                    message["tool_calls"].append({"id": call["id"], "function": dict(call["function"])})
                else:
                    message["tool_calls"][call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    return message


def check(message: dict[str, Any], request: dict[str, Any]) -> int:
    """How many calls an answer has, all of them valid."""
    calls = list(message.get("tool_calls") or ())
    for text in (message["content"], *(call["function"]["arguments"] for call in calls)):
        assert not any(marker in (text or "") for marker in MARKERS)
    if message["finish_reason"] == "length":
        calls = calls[:-1]
    else:
        assert message["finish_reason"] == ("tool_calls" if calls else "stop")
    schemas = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in request["tools"]}
    for index, call in enumerate(calls):
        name = call["function"]["name"]
        assert call["id"] == f"functions.{name}:{index}"
        jsonschema.validate(json.loads(call["function"]["arguments"]), schemas[name])
    return len(calls)


@pytest.mark.parametrize("how", [ask, ask_streamed])
def test_required(limited: Server, how: Any) -> None:
    made = 0
    for seed, request in enumerate(published()):
        fields = {"messages": request["messages"], "tools": request["tools"], "seed": seed}
        message = how(limited, **fields, tool_choice="required")
        calls = check(message, request)
        assert calls or message["finish_reason"] == "length"
        made += calls
    assert made


@pytest.mark.parametrize("how", [ask, ask_streamed])
def test_a_named_tool_and_a_single_call(limited: Server, how: Any) -> None:
    for seed in range(3):
        named = {"type": "function", "function": {"name": "nothing"}}
        message = how(limited, **OWN[0], tool_choice=named, parallel_tool_calls=False, seed=seed)
        assert check(message, OWN[0]) == 1
        assert message["tool_calls"][0]["function"] == {"name": "nothing", "arguments": "{}"}


def test_several_seeded_answers_with_penalties_and_logprobs(limited: Server) -> None:
    body = {"model": "tiny", "max_tokens": 600, **OWN[0], "tool_choice": "required"}
    body |= {
        "n": 3,
        "seed": 7,
        "logprobs": True,
        "temperature": 1.3,
        "presence_penalty": 1.5,
        "repetition_penalty": 1.2,
        "min_p": 0.01,
    }
    first, again = (limited.post("/v1/chat/completions", body).json() for _ in range(2))
    made = [choice["message"]["tool_calls"] for choice in first["choices"]]
    assert made == [choice["message"]["tool_calls"] for choice in again["choices"]]
    assert len({json.dumps(calls) for calls in made}) > 1
    for choice in first["choices"]:
        check({**choice["message"], "finish_reason": choice["finish_reason"]}, OWN[0])
        assert choice["logprobs"] == {"content": [], "refusal": None}  # calls are no text
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
    formatted = {"model": "tiny", "messages": OWN[0]["messages"], "guided_regex": "[ab]{6}", "logprobs": True}
    choice = limited.post("/v1/chat/completions", formatted).json()["choices"][0]
    assert "".join(token["token"] for token in choice["logprobs"]["content"]) == choice["message"]["content"]


def test_recursive_references_and_costly_expressions(limited: Server) -> None:
    tree = {"type": "object", "properties": {"leaf": {"type": "boolean"}, "below": {"$ref": "#"}}}
    parameters = {**tree, "required": ["leaf"]}
    tools = [{"type": "function", "function": {"name": "grow", "parameters": parameters}}]
    fields = {"messages": OWN[0]["messages"], "tools": tools, "tool_choice": "required", "temperature": 2.0}
    made = [ask(limited, **fields, parallel_tool_calls=False, seed=seed, max_tokens=120) for seed in range(5)]
    assert sum(check(message, {"tools": tools}) for message in made)
    body = {"model": "tiny", "messages": OWN[0]["messages"], "max_tokens": 20}
    for explodes in ("((a|b|ab|ba|aa)*c?){1,100}{1,100}", "(.*a.{500}b){50}", "((a{1,100}){1,100}){1,100}b"):
        answer = limited.post("/v1/chat/completions", body | {"guided_regex": explodes})
        assert answer.status_code == 200, "it is followed a step at a time"
        assert answer.json()["choices"][0]["finish_reason"] in ("stop", "length")
    assert limited.post("/v1/chat/completions", body).status_code == 200


def test_auto_makes_no_broken_call_and_none_makes_no_call(limited: Server) -> None:
    begin = 512 + 11  # the marker that begins a section
    for seed in range(4):
        # the random model would hardly begin a call by itself
        message = ask(limited, **OWN[0], seed=seed, logit_bias={str(begin): 9.0}, max_tokens=300)
        check(message, OWN[0])
        message = ask(limited, **OWN[0], seed=seed, tool_choice="none", logit_bias={str(begin): 9.0}, max_tokens=60)
        assert check(message, OWN[0]) == 0


@pytest.mark.parametrize(
    ("fields", "holds"),
    [
        ({"guided_choice": ["yes", "no"]}, lambda text: text in ("yes", "no")),
        ({"guided_regex": "[0-9]{3}/[a-f]{2}"}, lambda text: len(text) == 6 and text[3] == "/"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {
                        "name": "x",
                        "schema": {"properties": {"a": {"type": "boolean"}}, "type": "object"},
                    },
                }
            },
            lambda text: isinstance(json.loads(text), dict),
        ),
        ({"guided_grammar": 'start: "a" B\nB: /[xyz]{4}/'}, lambda text: len(text) == 5),
    ],
    ids=str,
)
def test_formats(limited: Server, fields: dict[str, Any], holds: Any) -> None:
    for seed in range(3):
        message = ask(limited, messages=OWN[0]["messages"], seed=seed, **fields)
        assert message["finish_reason"] == "stop"
        assert holds(message["content"]), message


def test_a_grammar_that_cannot_be_used_is_the_clients_mistake(limited: Server) -> None:
    overlapping = {"oneOf": [{"type": "string"}, {"type": "string", "maxLength": 3}]}
    parameters = {"type": "object", "properties": {"a": overlapping}}
    for fields, param in (
        (
            {"tools": [*OWN[0]["tools"], {"type": "function", "function": {"name": "f", "parameters": parameters}}]},
            "tools[2].function.parameters",
        ),
        ({"guided_regex": "(?=a)b"}, "guided_regex"),
        ({"guided_grammar": "start: nowhere"}, "guided_grammar"),
    ):
        body = {"model": "tiny", "messages": OWN[0]["messages"], **fields}
        for stream in (False, True):
            answer = limited.post("/v1/chat/completions", body | {"stream": stream})
            assert answer.status_code == 400, answer.text
            error = answer.json()["error"]
            assert (error["code"], error["param"]) == ("invalid_grammar", param), error
    assert ask(limited, messages=OWN[0]["messages"], max_tokens=2)["finish_reason"]


def test_forced_tokens_and_calls_are_counted(limited: Server) -> None:
    assert limited.metric("abruzzi_forced_tokens_total") > 0
    assert limited.metric("abruzzi_tool_calls_total") > 0
