"""The three lists of fields, against the specification, the schema and the document."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.completions import complete
from support.responses import specified
from support.served import Served

from server.completions.fields import EXTENSIONS, HARMLESS, HONOURED, REFUSED
from server.completions.schema import CompletionRequest

ROOT = Path(__file__).parents[3]
NAMES = ROOT / "tests" / "data" / "openai_completion_fields.json"


def test_each_field_of_the_specification_is_in_exactly_one_list() -> None:
    lists = [*HONOURED, *HARMLESS, *REFUSED]
    assert len(lists) == len(set(lists))
    assert set(lists) == set(json.loads(NAMES.read_text()))
    assert not set(EXTENSIONS) & set(lists)


def test_the_copied_names_are_those_of_the_specification() -> None:
    assert specified("CreateCompletionRequest") == set(json.loads(NAMES.read_text()))


def test_the_schema_has_exactly_the_listed_fields() -> None:
    assert set(CompletionRequest.model_fields) == {*HONOURED, *EXTENSIONS, *HARMLESS, *REFUSED}


def table(document: str, heading: str) -> dict[str, list[str]]:
    """The rows of the table under a heading: first column -> the others."""
    section = document.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in section.splitlines() if line.startswith("| `")]
    return {name.strip("`"): rest for name, *rest in rows}


def test_the_document_shows_the_lists() -> None:
    document = (ROOT / "docs" / "completions.md").read_text()
    assert table(document, "Honoured") == {name: [text] for name, text in HONOURED.items()}
    assert table(document, "Extensions") == {name: [text] for name, text in EXTENSIONS.items()}
    assert table(document, "Harmless") == {name: [text] for name, text in HARMLESS.items()}
    refused = {
        name: [why, ", ".join(f"`{json.dumps(value)}`" for value in neutral) or "–"]
        for name, (why, neutral) in REFUSED.items()
    }
    assert table(document, "Refused") == refused


@pytest.mark.anyio
@pytest.mark.parametrize(("field", "value"), [(field, [1]) for field in REFUSED] + [("best_of", 2), ("suffix", "end")])
async def test_a_refused_field_is_named(served: Served, field: str, value: Any) -> None:
    answer = await complete(served, **{field: value})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == (field, "unsupported_parameter")
    assert field in error["message"]
    assert not served.engine.requests


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fields",
    [{field: value} for field, (_, neutral) in REFUSED.items() for value in neutral]
    + [{field: None} for field in CompletionRequest.model_fields if field not in ("prompt", "model", "max_tokens")]
    + [{"user": "u"}, {"add_special_tokens": True}, {"n": 1}, {"echo": False}, {"stop": []}],
    ids=str,
)
async def test_neutral_null_and_harmless_values_change_nothing(served: Served, fields: dict[str, Any]) -> None:
    plain, with_fields = await complete(served), await complete(served, **fields)
    assert with_fields.status_code == 200, with_fields.text
    assert with_fields.json()["choices"] == plain.json()["choices"]
    first, second = served.engine.requests
    assert first.prompt == second.prompt


@pytest.mark.anyio
async def test_each_field_reaches_the_engine(served: Served) -> None:
    sampling = {
        "temperature": 0.3,
        "top_p": 0.5,
        "top_k": 7,
        "min_p": 0.1,
        "repetition_penalty": 1.5,
        "frequency_penalty": 0.4,
        "presence_penalty": -0.4,
        "seed": 5,
        "min_tokens": 2,
        "max_tokens": 9,
    }
    more = {"logit_bias": {"5": 3}, "stop_token_ids": [9], "ignore_eos": True, "cache_salt": "s", "priority": 3}
    answer = await complete(served, **sampling, **more, logprobs=2, echo=True)
    assert answer.status_code == 200, answer.text
    (request,) = served.engine.requests
    for name, value in sampling.items():
        assert getattr(request.sampling, name) == value
    assert (request.sampling.logprobs, request.sampling.prompt_logprobs) == (2, 2)
    assert request.sampling.logit_bias == {5: 3}
    assert request.sampling.stop_token_ids == (9,)
    assert (request.cache_salt, request.priority, request.grammar) == ("s", 3, None)


@pytest.mark.anyio
async def test_what_is_left_out_is_openais_or_the_checkpoints(served: Served) -> None:
    assert (await complete(served, max_tokens=None)).status_code == 200
    (request,) = served.engine.requests
    assert (request.sampling.max_tokens, request.sampling.temperature) == (16, 0.6)
    assert request.sampling.stop_token_ids == tuple(sorted(served.model.eos_ids))
    limit = 4096
    whole = await complete(served, prompt=[1] * (limit - 3), max_tokens=None)
    assert whole.json()["usage"]["completion_tokens"] == 3, "the room that is left is less than the default"
