"""Stop strings against a search of the whole text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.text.stop_strings import StopStrings

stops_of_few_letters = st.lists(st.text("ab", min_size=1, max_size=5), max_size=4)
pieces_of_few_letters = st.lists(st.text("abc", max_size=6))


def naive(text: str, stops: list[str]) -> tuple[str, str] | None:
    """(text before, stop string) of the match that ends first, and of those the longest."""
    for end in range(len(text) + 1):
        for stop in sorted(stops, key=len, reverse=True):
            if text[:end].endswith(stop):
                return text[: end - len(stop)], stop
    return None


@given(stops_of_few_letters, pieces_of_few_letters, st.booleans())
def test_same_as_searching_the_whole(stops: list[str], pieces: list[str], include: bool) -> None:
    finder = StopStrings(stops, include)
    sent, met = "", None
    for piece in pieces:
        text, met = finder.feed(piece)
        sent += text
    sent += finder.flush()
    expected = naive("".join(pieces), stops)
    if expected is None:
        assert (sent, met) == ("".join(pieces), None)
    else:
        before, stop = expected
        assert (sent, met) == (before + stop if include else before, stop)


@given(stops_of_few_letters, pieces_of_few_letters)
def test_holds_back_the_longest_possible_beginning_and_no_more(stops: list[str], pieces: list[str]) -> None:
    finder = StopStrings(stops)
    sent = whole = ""
    for piece in pieces:
        text, met = finder.feed(piece)
        if met is not None:
            return
        sent, whole = sent + text, whole + piece
        beginnings = {stop[:length] for stop in stops for length in range(len(stop))} | {""}
        held = next(whole[start:] for start in range(len(whole) + 1) if whole[start:] in beginnings)
        assert sent == whole[: len(whole) - len(held)]


def test_nothing_comes_after_a_match() -> None:
    finder = StopStrings(["END"])
    assert finder.feed("so EN") == ("so ", None)
    assert finder.feed("D and more") == ("", "END")
    assert finder.feed("text") == ("", "END")
    assert finder.flush() == ""


def test_empty_stop_string() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        StopStrings(["a", ""])


def test_long_stop_strings_stay_cheap_on_text_that_almost_matches() -> None:
    finder = StopStrings(["a" * 5000 + "b"])
    assert finder.feed("a" * 20_000) == ("a" * 15_000, None)
    assert finder.flush() == "a" * 5000
