"""Where JSON ends, however its text is cut; Python's own decoder is the oracle."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.dialects.json_extent import JsonExtent

INNER = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda children: st.one_of(st.lists(children), st.dictionaries(st.text(), children)),
    max_leaves=12,
)
VALUE = st.one_of(st.lists(INNER), st.dictionaries(st.text(), INNER), st.text())


def extent(text: str, cuts: list[int]) -> int | None:
    """How many characters belong to the value, fed in pieces; None if it has not ended."""
    reader, size = JsonExtent(), 0
    borders = sorted({0, len(text), *(cut for cut in cuts if 0 < cut < len(text))})
    for start, end in itertools.pairwise(borders):
        size += reader.feed(text[start:end])
        if reader.ended:
            return size
        assert size == end, "what belongs to a value that goes on is all there is"
    return None


@given(VALUE, st.booleans(), st.text(), st.lists(st.integers(0, 60)))
def test_it_ends_where_json_ends(value: object, ascii_only: bool, behind: str, cuts: list[int]) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    expected = json.JSONDecoder().raw_decode(text + behind)[1]
    assert extent(text + behind, cuts) == expected == len(text)
    assert extent(text + behind, list(range(len(text)))) == expected
    assert extent(text[:-1], cuts) is None


@pytest.mark.parametrize("text", ["{]", '{"a": 1]', '[}"', '"\\"'])
def test_nonsense_is_counted_too(text: str) -> None:
    JsonExtent().feed(text)
