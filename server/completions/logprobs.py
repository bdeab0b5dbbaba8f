"""Log-probabilities as OpenAI's completions have them: four lists of one length, an entry for each token.

tokens          its text
token_logprobs  null for the first token of a prompt, of which the model says nothing
top_logprobs    text -> log-probability of the most likely at its place, and of itself
text_offset     the character of the choice's text at which it begins
"""

import codecs
from collections.abc import Iterable, Sequence
from typing import Any

from server.events import Alternative, TokenLogprob
from server.text.tokenizer import Tokenizer


class Echo:
    """A prompt as text, and where in it each token begins. A control token counts as its name."""

    def __init__(self, token_ids: Sequence[int], tokenizer: Tokenizer) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        pieces: list[str] = []
        self.offsets: list[int] = []
        length = 0
        for token_id in token_ids:
            self.offsets.append(length)
            pieces.append(decoder.decode(tokenizer.token_bytes(token_id)))
            length += len(pieces[-1])
        pieces.append(decoder.decode(b"", final=True))
        self.text = "".join(pieces)
        self._first = name(tokenizer.token_bytes(token_ids[0]))

    def logprobs(self, behind_first: Sequence[TokenLogprob]) -> dict[str, Any]:
        """The object of the whole prompt."""
        rest = logprobs_object(behind_first)
        return {
            "tokens": [self._first, *rest["tokens"]],
            "token_logprobs": [None, *rest["token_logprobs"]],
            "top_logprobs": [None, *rest["top_logprobs"]],
            "text_offset": self.offsets,
        }


def logprobs_object(tokens: Iterable[TokenLogprob], before: int = 0) -> dict[str, Any]:
    """The object of tokens of the answer, `before` whose text there are that many characters."""
    tokens = list(tokens)
    return {
        "tokens": [name(token.chosen.bytes) for token in tokens],
        "token_logprobs": [token.chosen.logprob for token in tokens],
        "top_logprobs": [_top(token) for token in tokens],
        "text_offset": [before + token.start for token in tokens],
    }


def joined(objects: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The objects of text that follows one another as one."""
    whole: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for one in objects:
        for key, entries in whole.items():
            entries += one[key]
    return whole


def name(data: bytes) -> str:
    """A token's text. Part of a character is spelled out, so that no two tokens have one name: `bytes: \\xf0\\x9f`."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + repr(data)[2:-1]


def _top(token: TokenLogprob) -> dict[str, float]:
    """A control token and the text of its name are the only ones that have one name: the likelier counts."""
    found: dict[str, float] = {}
    ranked: tuple[Alternative, ...] = (*token.top, token.chosen)
    for other in ranked:
        found.setdefault(name(other.bytes), other.logprob)
    return found
