"""The lists of fields, against the specification, the schema and the document."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.responses import ask, comparable, specified
from support.served import Served

from server.responses.fields import COUNT_REFUSED, EXTENSIONS, HARMLESS, HONOURED, REFUSED
from server.responses.schema import CountRequest, CreateConversation, ResponseRequest, UpdateConversation

ROOT = Path(__file__).parents[3]
NAMES: dict[str, list[str]] = json.loads((ROOT / "tests" / "data" / "openai_responses_fields.json").read_text())


def test_each_field_of_the_specification_is_in_exactly_one_list() -> None:
    lists = [*HONOURED, *HARMLESS, *REFUSED]
    assert len(lists) == len(set(lists))
    assert set(lists) == set(NAMES["CreateResponse"])
    assert not set(EXTENSIONS) & set(lists)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_copied_names_are_those_of_the_specification(name: str) -> None:
    assert specified(name) == set(NAMES[name])


def test_the_schemas_have_exactly_the_listed_fields() -> None:
    assert set(ResponseRequest.model_fields) == {*HONOURED, *EXTENSIONS, *HARMLESS, *REFUSED}
    assert set(CountRequest.model_fields) == {*NAMES["TokenCountsBody"], "chat_template_kwargs"}
    assert set(COUNT_REFUSED) <= set(NAMES["TokenCountsBody"])
    assert set(CreateConversation.model_fields) == set(NAMES["CreateConversationBody"])
    assert set(UpdateConversation.model_fields) == set(NAMES["UpdateConversationBody"])


def table(document: str, heading: str) -> dict[str, list[str]]:
    """The rows of the table under a heading: first column -> the others."""
    section = document.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in section.splitlines() if line.startswith("| `")]
    return {name.strip("`"): rest for name, *rest in rows}


def test_the_document_shows_the_lists() -> None:
    document = (ROOT / "docs" / "responses.md").read_text()
    assert table(document, "Honoured") == {name: [text] for name, text in HONOURED.items()}
    assert table(document, "Extensions") == {name: [text] for name, text in EXTENSIONS.items()}
    assert table(document, "Harmless") == {name: [text] for name, text in HARMLESS.items()}
    refused = {
        name: [why, ", ".join(f"`{json.dumps(value)}`" for value in neutral) or "–"]
        for name, (why, neutral) in REFUSED.items()
    }
    assert table(document, "Refused") == refused


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/v1/responses", "/v1/responses/input_tokens"])
async def test_a_refused_field_is_named(served: Served, path: str) -> None:
    for field in COUNT_REFUSED if path.endswith("tokens") else REFUSED:
        answer = await ask(served, path, **{field: [{"anything": 1}]})
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["param"], error["code"]) == (field, "unsupported_parameter")
        assert field in error["message"]
    assert not served.engine.requests


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fields",
    [{field: value} for field, (_, neutral) in REFUSED.items() for value in neutral]
    + [{field: None} for field in ResponseRequest.model_fields if field not in ("input", "model")]
    + [{"client_metadata": {"a": "b"}}, {"max_tool_calls": None, "stream_options": None}]
    + [{"text": {"verbosity": "medium"}}, {"reasoning": {"context": "auto", "mode": "standard"}}]
    + [{"include": ["file_search_call.results"]}, {"stream": False, "background": False, "store": False}],
    ids=str,
)
async def test_neutral_null_and_harmless_values_change_nothing(served: Served, fields: dict[str, Any]) -> None:
    plain, with_fields = await ask(served), await ask(served, **fields)
    assert with_fields.status_code == 200, with_fields.text
    assert comparable(with_fields.json()) == comparable(plain.json())
    first, second = served.engine.requests
    assert first.prompt == second.prompt


@pytest.mark.anyio
async def test_harmless_labels_are_given_back(served: Served) -> None:
    labels = {"user": "u", "safety_identifier": "s", "prompt_cache_key": "k", "max_tool_calls": 3}
    assert set(labels) == set(HARMLESS)
    body = (await ask(served, **labels)).json()
    assert {name: body[name] for name in labels} == labels
