"""The three lists of fields, against the types of Anthropic's SDK, the schema and the document."""

import json
import re
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from anthropic.types import message_count_tokens_params as counting
from anthropic.types import message_create_params as creating
from anthropic.types.beta import message_count_tokens_params as beta_counting
from anthropic.types.beta import message_create_params as beta_creating
from msgspec import structs
from support.messages import ask, message
from support.served import Served

from server.messages.fields import EXTENSIONS, HARMLESS, HONOURED, REFUSED
from server.messages.schema import CountTokensRequest, MessagesRequest

ROOT = Path(__file__).parents[3]
HEADERS = {"betas", "user_profile_id", "workspace_id"}  # what the SDK sends as headers, any of which is let through
LISTED = {*HONOURED, *EXTENSIONS, *HARMLESS, *REFUSED}


def published(*types: Any) -> set[str]:
    return {name for one in types for name in get_type_hints(one)} - HEADERS


def test_each_field_of_the_sdk_is_in_exactly_one_list() -> None:
    lists = [*HONOURED, *HARMLESS, *REFUSED]
    assert len(lists) == len(set(lists))
    whole = published(creating.MessageCreateParamsStreaming, beta_creating.MessageCreateParamsStreaming)
    assert set(lists) == whole
    assert not set(EXTENSIONS) & set(lists)


def test_the_schemas_have_exactly_the_listed_fields() -> None:
    assert set(MessagesRequest.model_fields) == LISTED
    counted = published(counting.MessageCountTokensParams, beta_counting.MessageCountTokensParams)
    assert set(CountTokensRequest.model_fields) == counted | {"output_format"}


def table(document: str, heading: str) -> dict[str, list[str]]:
    """The rows of the table under a heading: first column -> the others."""
    section = document.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in section.splitlines() if line.startswith("| `")]
    return {name.strip("`"): rest for name, *rest in rows}


def test_the_document_shows_the_lists() -> None:
    document = (ROOT / "docs" / "messages.md").read_text()
    assert table(document, "Honoured") == {name: [text] for name, text in HONOURED.items()}
    assert table(document, "Of earlier versions") == {name: [text] for name, text in EXTENSIONS.items()}
    assert table(document, "Harmless") == {name: [text] for name, text in HARMLESS.items()}
    refused = {
        name: [why, ", ".join(f"`{json.dumps(value)}`" for value in neutral) or "–"]
        for name, (why, neutral) in REFUSED.items()
    }
    assert table(document, "Refused") == refused


@pytest.mark.anyio
@pytest.mark.parametrize("field", sorted(REFUSED))
async def test_a_refused_field_is_named(served: Served, field: str) -> None:
    paths = ["/v1/messages"] + ["/v1/messages/count_tokens"] * (field in CountTokensRequest.model_fields)
    for path in paths:
        answer = await ask(served, path, **{field: [{"anything": 1}]})
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert f"{field} is not supported" in error["message"]
    assert not served.engine.requests


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fields",
    [{field: value} for field, (_, neutral) in REFUSED.items() for value in neutral]
    + [{field: None} for field in MessagesRequest.model_fields if field not in ("messages", "model", "max_tokens")]
    + [
        {"metadata": {"user_id": "u"}, "cache_control": {"type": "ephemeral"}, "fallbacks": "default"},
        {"metadata": {"user_id": None}, "tools": []},
        {"metadata": {}},
        {"output_config": {"effort": "max", "format": None}, "stop_sequences": []},
    ],
    ids=str,
)
async def test_neutral_null_and_harmless_values_change_nothing(served: Served, fields: dict[str, Any]) -> None:
    plain, with_fields = await ask(served), await ask(served, **fields)
    assert with_fields.status_code == 200, with_fields.text
    assert with_fields.json()["content"] == plain.json()["content"]
    first, second = served.engine.requests
    assert first.prompt == second.prompt
    assert first.grammar == second.grammar
    assert first.sampling == structs.replace(second.sampling, seed=first.sampling.seed)


@pytest.mark.anyio
async def test_headers_and_query_of_the_sdks_are_let_through(served: Served) -> None:
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "one,two", "anthropic-workspace-id": "w"}
    async with served.client() as client:
        assert (await client.post("/v1/messages?beta=true", json=message(), headers=headers)).status_code == 200
