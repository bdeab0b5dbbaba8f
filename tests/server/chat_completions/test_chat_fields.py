"""The three lists of fields, against the specification, the schema and the document."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.responses import specified
from support.served import Served

from server.chat_completions.fields import EXTENSIONS, HARMLESS, HONOURED, REFUSED
from server.chat_completions.schema import ChatCompletionRequest

ROOT = Path(__file__).parents[3]
NAMES = ROOT / "tests" / "data" / "openai_chat_fields.json"


def test_each_field_of_the_specification_is_in_exactly_one_list() -> None:
    lists = [*HONOURED, *HARMLESS, *REFUSED]
    assert len(lists) == len(set(lists))
    assert set(lists) == set(json.loads(NAMES.read_text()))
    assert not set(EXTENSIONS) & set(lists)


def test_the_copied_names_are_those_of_the_specification() -> None:
    assert specified("CreateChatCompletionRequest") == set(json.loads(NAMES.read_text()))


def test_the_schema_has_exactly_the_listed_fields() -> None:
    assert set(ChatCompletionRequest.model_fields) == {*HONOURED, *EXTENSIONS, *HARMLESS, *REFUSED}


def table(document: str, heading: str) -> dict[str, list[str]]:
    """The rows of the table under a heading: first column -> the others."""
    section = document.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in section.splitlines() if line.startswith("| `")]
    return {name.strip("`"): rest for name, *rest in rows}


def test_the_document_shows_the_lists() -> None:
    document = (ROOT / "docs" / "api.md").read_text()
    assert table(document, "Honoured") == {name: [text] for name, text in HONOURED.items()}
    assert table(document, "Extensions") == {name: [text] for name, text in EXTENSIONS.items()}
    assert table(document, "Harmless") == {name: [text] for name, text in HARMLESS.items()}
    refused = {
        name: [why, ", ".join(f"`{json.dumps(value)}`" for value in neutral) or "–"]
        for name, (why, neutral) in REFUSED.items()
    }
    assert table(document, "Refused") == refused


@pytest.mark.anyio
@pytest.mark.parametrize("field", sorted(REFUSED))
async def test_a_refused_field_is_named(served: Served, field: str) -> None:
    answer = await served.post(**{field: [{"anything": 1}]})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == field
    assert error["code"] == "unsupported_parameter"
    assert field in error["message"]
    assert not served.engine.requests


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fields",
    [{field: value} for field, (_, neutral) in REFUSED.items() for value in neutral]
    + [{field: None} for field in ChatCompletionRequest.model_fields if field not in ("messages", "model")]
    + [{"user": "u", "safety_identifier": "s", "metadata": {"a": "b"}, "prompt_cache_key": "k"}],
    ids=str,
)
async def test_neutral_null_and_harmless_values_change_nothing(served: Served, fields: dict[str, Any]) -> None:
    plain, with_fields = await served.post(), await served.post(**fields)
    assert with_fields.status_code == 200, with_fields.text
    assert with_fields.json()["choices"] == plain.json()["choices"]
    first, second = served.engine.requests
    assert first.prompt == second.prompt


@pytest.mark.anyio
async def test_an_unknown_field_is_named(served: Served) -> None:
    answer = await served.post(temprature=1)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "temprature"
    assert answer.json()["error"]["code"] == "unknown_parameter"
