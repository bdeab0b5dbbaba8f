"""An agent's loop in Google's protocol through the real server, whose model is random: whatever it would have liked to
say, its calls are valid and its answers have the format that was asked for."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from google import genai
from google.genai import types
from support.serving import Server, serving

MARKERS = ("<|tool_call", "<|im_", "[EOS]")
BOOK = {
    "type": "OBJECT",
    "properties": {
        "city": {"type": "STRING", "maxLength": 12},
        "people": {"type": "INTEGER", "minimum": 1, "maximum": 20},
        "dishes": {"type": "ARRAY", "items": {"type": "STRING", "enum": ["rösti", "fondue"]}, "maxItems": 3},
    },
    "required": ["city", "people"],
}
JSON_SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 12},
        "people": {"type": "integer", "minimum": 1, "maximum": 20},
        "dishes": {"type": "array", "items": {"enum": ["rösti", "fondue"]}, "maxItems": 3},
    },
    "required": ["city", "people"],
    "additionalProperties": False,
}
TOOLS: Any = [
    {"function_declarations": [{"name": "book_table", "parameters": BOOK}, {"name": "list_tables", "description": "x"}]}
]


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("log") / "server.log"
    flags = ["--served-model-name", "tiny", "--dtype", "float32", "--max-model-len", "4096", "--max-json-string", "16"]
    with serving(tiny_checkpoint, log, *flags, "--model-alias", "gemini-*") as server:
        yield server


@pytest.fixture
def client(served: Server) -> Iterator[genai.Client]:
    client = genai.Client(api_key="none", http_options=types.HttpOptions(base_url=served.url))
    yield client
    client.close()


def config(mode: str, **more: Any) -> types.GenerateContentConfig:
    calling: Any = {"mode": mode, **more}
    return types.GenerateContentConfig(
        tools=TOOLS,
        tool_config=types.ToolConfig(function_calling_config=calling),
        max_output_tokens=400,
        seed=1,
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )


@pytest.mark.parametrize("streamed", [False, True])
def test_an_agents_loop(client: genai.Client, streamed: bool) -> None:
    contents: list[Any] = [types.Content(role="user", parts=[types.Part(text="A table for two in Zürich, please.")])]
    turns = [config("ANY"), config("ANY", allowed_function_names=["list_tables"]), config("NONE")]
    for turn in turns:
        asked = {"model": "gemini-3", "contents": contents, "config": turn}
        if streamed:
            pieces = list(client.models.generate_content_stream(**asked))  # type: ignore[arg-type]
            said = [piece.candidates[0].content for piece in pieces if piece.candidates]
            reason = pieces[-1].candidates[0].finish_reason if pieces[-1].candidates else None
        else:
            answer = client.models.generate_content(**asked)  # type: ignore[arg-type]
            assert answer.candidates
            said, reason = [answer.candidates[0].content], answer.candidates[0].finish_reason
        parts = [part for content in said if content is not None for part in content.parts or ()]
        assert not any(marker in (part.text or "") for part in parts for marker in MARKERS)
        calls = [part.function_call for part in parts if part.function_call is not None]
        if turn is turns[-1]:
            assert not calls
            break
        assert calls or reason is types.FinishReason.MAX_TOKENS
        for call in calls:
            assert turn is turns[0] or call.name == "list_tables"
            jsonschema.validate(call.args, JSON_SCHEMA if call.name == "book_table" else {"maxProperties": 0})
        contents += [content for content in said if content is not None]
        results = [types.Part.from_function_response(name=call.name or "", response={"free": 3}) for call in calls]
        contents.append(types.Content(role="user", parts=results or [types.Part(text="Go on.")]))


def test_a_format(client: genai.Client) -> None:
    fields: Any = {"response_mime_type": "application/json", "response_schema": BOOK, "max_output_tokens": 300}
    answer = client.models.generate_content(
        model="tiny", contents="A table.", config=types.GenerateContentConfig(**fields, seed=2)
    )
    assert answer.candidates
    assert answer.candidates[0].finish_reason is types.FinishReason.STOP
    jsonschema.validate(json.loads(answer.text or ""), JSON_SCHEMA)
