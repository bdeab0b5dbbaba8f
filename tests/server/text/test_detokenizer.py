"""The detokenizer against `bytes.decode` of the whole, and against holding back more than it must."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from server.text.detokenizer import Detokenizer

CONTROL = 1000


class Bytes:
    """A tokenizer whose tokens are given byte strings; ids from CONTROL are control tokens."""

    vocab_size = 2000

    def __init__(self, tokens: Sequence[bytes]) -> None:
        self._tokens = tokens
        self.control_tokens = {"<control>": CONTROL}

    def encode(self, text: str) -> list[int]:
        raise NotImplementedError

    def is_control(self, token_id: int) -> bool:
        return token_id >= CONTROL

    def token_bytes(self, token_id: int) -> bytes:
        return b"<control>" if token_id >= CONTROL else self._tokens[token_id]


def unfinished() -> frozenset[bytes]:
    """Every proper beginning of a valid UTF-8 character: characters of one block of 64 share all but the last byte."""
    found = {b""}
    for code in range(0x80, 0x110000, 64):
        if not 0xD800 <= code < 0xE000:
            character = chr(code).encode()
            found.update(character[:length] for length in range(1, len(character)))
    return frozenset(found)


UNFINISHED = unfinished()

some_bytes = (
    st.binary(max_size=4)
    | st.text(max_size=3).map(str.encode)
    | st.text("é漢😀\U0010ffff\ufffd\ufeff", min_size=1, max_size=2)
    .map(str.encode)
    .flatmap(lambda data: st.integers(0, len(data)).map(lambda end: data[:end]))
    | st.sampled_from([b"\xe0\x80", b"\xed\xa0", b"\xf4\x90", b"\xf0\x80", b"\xc0", b"\xff", b"\xf0\x9f\x98", b"\x80"])
)


@given(st.lists(some_bytes), st.data())
def test_feeds_join_to_the_whole_and_hold_no_more_than_a_begun_character(
    tokens: list[bytes], data: st.DataObject
) -> None:
    detokenizer = Detokenizer(Bytes(tokens))
    text, seen = "", b""
    token_ids: list[int] = []
    for index, token in enumerate(tokens):
        token_ids.append(index)
        if data.draw(st.booleans(), label="control token here"):
            token_ids.append(CONTROL)
        seen += token
        if data.draw(st.booleans(), label="feed now"):
            text += detokenizer.feed(token_ids)
            token_ids = []
            # What has not come out is the begun character at the end, if there is one.
            held = next(
                seen[start:] for start in range(max(0, len(seen) - 3), len(seen) + 1) if seen[start:] in UNFINISHED
            )
            assert text == seen[: len(seen) - len(held)].decode("utf-8", "replace")
    text += detokenizer.feed(token_ids) + detokenizer.flush()
    assert text == b"".join(tokens).decode("utf-8", "replace")


def test_every_split_of_awkward_bytes() -> None:
    for whole in (
        "aé漢😀".encode(),
        b"\xf0\x9f\x98\xe6\xbc\xa2\xc3",
        b"\xed\xa0\x80\xf4\x90\x80\x80",
        b"\xe0\x80\xaf\xc0\xc3",
    ):
        for cuts in range(1 << (len(whole) - 1)):
            tokens = [b""]
            for index, byte in enumerate(whole):
                tokens[-1] += bytes([byte])
                if cuts >> index & 1:
                    tokens.append(b"")
            detokenizer = Detokenizer(Bytes(tokens))
            text = "".join(detokenizer.feed([index]) for index in range(len(tokens))) + detokenizer.flush()
            assert text == whole.decode("utf-8", "replace")


def test_invalid_bytes_come_at_once() -> None:
    detokenizer = Detokenizer(Bytes([b"\xff", b"\xf0\x9f", b"x", b"\xe6"]))
    assert detokenizer.feed([0]) == "\ufffd"
    assert detokenizer.feed([1]) == ""
    assert detokenizer.feed([2]) == "\ufffdx"
    assert detokenizer.feed([3]) == ""
    assert detokenizer.flush() == "\ufffd"
    assert detokenizer.flush() == ""
