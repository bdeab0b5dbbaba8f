"""Published schemas with valid and invalid instances, the server's way: what is compiled admits nothing invalid, and
refuses nothing valid but what is documented. `benchmarks/schema_coverage.py` does the same with the whole suites."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.schema_coverage import Coverage, admits, in_order_of, orders, read
from benchmarks.schema_engines import Abruzzi
from engine.grammar.compiler import GrammarCompiler
from engine.grammar.tokens import load_grammar_tokens

DATA = Path(__file__).parents[1] / "data"
SUITES = read(DATA / "schemas")
# A valid object with a property that the schema leaves open: docs/structured-output.md, "narrowed".
NARROWED = {"tests/draft2020-12/properties.json#0"}


@pytest.fixture(scope="module")
def coverage() -> Coverage:
    tokens = load_grammar_tokens(DATA / "tiny_kimi", 1000)
    return Coverage(Abruzzi(GrammarCompiler(tokens, 1000)))


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_what_is_compiled_is_right(coverage: Coverage, suite: str) -> None:
    compiled = 0
    for entry in SUITES[suite]:
        tally = coverage.take(entry)
        compiled += tally.schemas["compiled"]
        assert tally.schemas["timed out"] == 0
        wrong = [example for example in tally.examples if not example[0].startswith("refused")]
        assert not wrong or entry["id"] in NARROWED, wrong
    assert compiled >= {"json_schema_test_suite": 33, "maskbench": 31}[suite]


def _decided(coverage: Coverage, schema: dict[str, Any], *values: Any) -> Iterator[bool]:
    verdict, said, accepts = coverage.compile(schema)
    assert accepts is not None, (verdict, said)
    for value in values:
        yield admits(accepts, value, schema)


@pytest.mark.parametrize(
    ("schema", "valid", "invalid"),
    [
        ({"format": "date"}, ["2024-02-29", "2000-02-29", 5], ["2023-02-29", "1900-02-29", "2023-04-31"]),
        ({"format": "date", "pattern": "^2"}, ["2024-02-29"], ["1904-02-29", "2023-02-29"]),
        ({"format": "date-time"}, ["2024-02-29T23:59:59Z"], ["2023-02-29T23:59:59Z", "2024-01-01T12:00:60Z"]),
        ({"format": "time"}, ["23:59:59.5+01:00"], ["12:00:60Z", "24:00:00Z"]),
        ({"format": "hostname"}, ["a-b.example"], ["xn--x", "-a"]),
        ({"type": "object", "propertyNames": {"pattern": "^a"}}, [{"ab": 1}, {}], [{"b": 1}]),
        (
            {"propertyNames": {"enum": ["a.b", "c"]}, "additionalProperties": {"type": "null"}},
            [{"a.b": None}],
            [{"axb": None}, {"c": 1}],
        ),
        ({"propertyNames": {"type": "string", "maxLength": 2}}, [{"é\n": 1}, 3], [{"abc": 1}]),
        ({"type": "object", "propertyNames": {"minLength": 2}}, [{"abc": 1}], [{"a": 1}]),
        ({"type": "object", "propertyNames": {"type": "string"}}, [{"abc": 1}], [[]]),
        ({"properties": {"a": {}}, "unevaluatedProperties": {"type": "null"}}, [{"a": 1, "b": None}], [{"b": 1}]),
        ({"prefixItems": [{"type": "null"}], "unevaluatedItems": False}, [[None], []], [[None, 1], [1]]),
        ({"type": "array", "maxItems": 2.0}, [[1, 2]], [[1, 2, 3]]),
        ({"if": {"type": "null"}, "not": False, "dependentRequired": {}}, [1, None], []),
    ],
    ids=str,
)
def test_words_that_are_translated(
    coverage: Coverage, schema: dict[str, Any], valid: list[Any], invalid: list[Any]
) -> None:
    assert list(_decided(coverage, schema, *valid)) == [True] * len(valid)
    assert not any(_decided(coverage, schema, *invalid))


def test_an_instance_is_written_in_every_order() -> None:
    assert [json.dumps(one) for one in orders([{"a": 1, "b": 2}])] == ['[{"a": 1, "b": 2}]', '[{"b": 2, "a": 1}]']
    schema = {"allOf": [{"$ref": "#/$defs/x"}], "$defs": {"x": {"properties": {"b": {}, "a": {}}}}}
    assert list(in_order_of(schema, {"c": 0, "a": 1, "b": 2}, schema)) == ["b", "a", "c"]
