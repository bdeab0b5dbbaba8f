"""The three lists of fields, against the types of Google's SDK, the schema and the document."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from google.genai import types
from msgspec import structs
from pydantic.alias_generators import to_camel
from support.gemini import ask
from support.served import Served

from server.gemini.contents_schema import FunctionCall, FunctionResponse, Part
from server.gemini.fields import HARMLESS, HONOURED, REFUSED
from server.gemini.schema import (
    CountTokensRequest,
    GenerateContentRequest,
    GenerationConfig,
    SafetySetting,
    ThinkingConfig,
)
from server.gemini.tools_schema import FunctionCallingConfig, FunctionDeclaration, Tool, ToolConfig

ROOT = Path(__file__).parents[3]
PREFIX = "generationConfig."
# What the SDK keeps to itself, or sends only to Google's cloud.
OF_THE_SDK = {"httpOptions", "shouldReturnHttpResponse", "automaticFunctionCalling", "automaticContinuation"}
OF_THE_CLOUD = {"modelArmorConfig", "generationOutputConfig"}
BESIDE = {"systemInstruction", "tools", "toolConfig", "safetySettings", "labels", "cachedContent", "serviceTier"}
BESIDE |= {"store", "continuationToken"}


def names(model: Any) -> set[str]:
    return {to_camel(name) for name in model.model_fields}


def test_each_field_of_the_sdk_is_in_exactly_one_list() -> None:
    lists = [*HONOURED, *HARMLESS, *REFUSED]
    assert len(lists) == len(set(lists))
    given = names(types.GenerateContentConfig) - OF_THE_SDK - OF_THE_CLOUD
    settings = {PREFIX + name for name in (given - BESIDE) | names(types.GenerationConfig)}
    assert set(lists) == settings | BESIDE | {"contents"}


def test_the_schemas_have_exactly_the_listed_fields() -> None:
    own = names(GenerateContentRequest) - {"model", "generationConfig"}
    assert own | {PREFIX + name for name in names(GenerationConfig)} == {*HONOURED, *HARMLESS, *REFUSED}
    assert names(CountTokensRequest) == {"contents", "generateContentRequest"}


@pytest.mark.parametrize(
    "own",
    [
        FunctionCall,
        FunctionCallingConfig,
        FunctionDeclaration,
        FunctionResponse,
        Part,
        SafetySetting,
        ThinkingConfig,
        Tool,
        ToolConfig,
    ],
)
def test_inner_objects_know_all_members(own: Any) -> None:
    assert names(own) == names(getattr(types, own.__name__))


def table(document: str, heading: str) -> dict[str, list[str]]:
    """The rows of the table under a heading: first column -> the others."""
    section = document.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in section.splitlines() if line.startswith("| `")]
    return {name.strip("`"): rest for name, *rest in rows}


def test_the_document_shows_the_lists() -> None:
    document = (ROOT / "docs" / "gemini.md").read_text()
    assert table(document, "Honoured") == {name: [text] for name, text in HONOURED.items()}
    assert table(document, "Harmless") == {name: [text] for name, text in HARMLESS.items()}
    refused = {
        name: [why, ", ".join(f"`{json.dumps(value)}`" for value in neutral) or "–"]
        for name, (why, neutral) in REFUSED.items()
    }
    assert table(document, "Refused") == refused


def fields(name: str, value: Any) -> dict[str, Any]:
    return {"generationConfig": {name.removeprefix(PREFIX): value}} if name.startswith(PREFIX) else {name: value}


@pytest.mark.anyio
@pytest.mark.parametrize("name", sorted(REFUSED))
async def test_a_refused_field_is_named(served: Served, name: str) -> None:
    answer = await ask(served, **fields(name, [{"anything": 1}]))
    assert answer.status_code == 400
    assert f"{name} is not supported" in answer.json()["error"]["message"]
    assert not served.engine.requests


@pytest.mark.anyio
@pytest.mark.parametrize(
    "given",
    [fields(name, value) for name, (_, neutral) in REFUSED.items() for value in neutral]
    + [fields(name, None) for name in [*HONOURED, *HARMLESS, *REFUSED] if name != "contents"]
    + [
        {"labels": {"a": "b"}},
        {"generationConfig": None},
        {"tools": []},
        {"tools": [{}]},
        {"safetySettings": []},
        {"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}]},
        {"safety_settings": {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}},
    ],
    ids=str,
)
async def test_neutral_null_and_harmless_values_change_nothing(served: Served, given: dict[str, Any]) -> None:
    plain, with_fields = await ask(served), await ask(served, **given)
    assert with_fields.status_code == 200, with_fields.text
    assert with_fields.json()["candidates"] == plain.json()["candidates"]
    first, second = served.engine.requests
    assert first.prompt == second.prompt
    assert first.grammar == second.grammar
    assert first.sampling == structs.replace(second.sampling, seed=first.sampling.seed)
