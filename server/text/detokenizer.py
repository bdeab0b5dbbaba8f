"""Token ids to text while they come: whole characters as soon as they are known, never half of one."""

import codecs
from collections.abc import Sequence

from server.text.tokenizer import Tokenizer


class Detokenizer:
    """The text of one sequence of tokens. Control tokens are left out.

    All that is fed and flushed, joined, equals `bytes.decode("utf-8", "replace")` of all tokens' bytes. Between feeds
    at most three bytes are held: the beginning of a character that the next token may complete.
    """

    __slots__ = ("_held", "_is_control", "_token_bytes")

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._is_control = tokenizer.is_control
        self._token_bytes = tokenizer.token_bytes
        self._held = b""

    def feed(self, token_ids: Sequence[int]) -> str:
        """The text that these tokens complete. Bytes that no character begins with come as U+FFFD at once."""
        is_control, token_bytes = self._is_control, self._token_bytes
        data = self._held + b"".join([token_bytes(token) for token in token_ids if not is_control(token)])
        text, consumed = codecs.utf_8_decode(data, "replace", False)
        held = data[consumed:]
        if b"\xed\xa0" <= held < b"\xee":
            # Half a surrogate, which Python's decoder keeps for the sake of its "surrogatepass". UTF-8 has none.
            text, held = text + "\ufffd" * len(held), b""
        self._held = held
        return text

    def flush(self) -> str:
        """What is left at the end: an incomplete character, as U+FFFD."""
        text = self._held.decode("utf-8", "replace")
        self._held = b""
        return text
