"""Text of a prompt that no chat template writes, to token ids. Whoever sends it writes the template's part: the name of
a control token in it is that token, unlike in messages."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from server.text.checkpoint_json import read_json_object, read_optional_json_object
from server.text.tokenizer import Tokenizer


class RawEncoder:
    """Immutable; may be shared between threads. `before` and `after`: the tokens that the checkpoint's own tokenizer
    puts around a text, such as a beginning-of-sequence token."""

    def __init__(self, tokenizer: Tokenizer, before: Sequence[int] = (), after: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._before = list(before)
        self._after = list(after)
        names = sorted(filter(None, tokenizer.control_tokens), key=len, reverse=True)
        self._control = re.compile("(" + "|".join(map(re.escape, names)) + ")") if names else None

    @classmethod
    def load(cls, folder: Path, tokenizer: Tokenizer) -> Self:
        """What stands around a text: as `post_processor` of tokenizer.json has it, but for a beginning-of-sequence
        token as `add_bos_token` of tokenizer_config.json says. Kimi's tokenizer adds nothing. Raises ConfigError."""
        if not (folder / "tokenizer.json").is_file() or (folder / "tiktoken.model").is_file():
            return cls(tokenizer)
        before, after = _around(read_json_object(folder / "tokenizer.json").get("post_processor"))
        config = read_optional_json_object(folder / "tokenizer_config.json")
        named = config.get("bos_token")
        bos = tokenizer.control_tokens.get(str(named.get("content") if isinstance(named, dict) else named))
        if bos is not None and isinstance(config.get("add_bos_token"), bool):
            rest = [token for token in before if token != bos]
            before = [bos, *rest] if config["add_bos_token"] else rest
        return cls(tokenizer, before, after)

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """The ids of `text`. Each run of text between control tokens is encoded as one."""
        token_ids = list(self._before) if add_special_tokens else []
        control = self._tokenizer.control_tokens
        for index, piece in enumerate(self._control.split(text) if self._control is not None else [text]):
            if index % 2:
                token_ids.append(control[piece])
            elif piece:
                token_ids += self._tokenizer.encode(piece)
        return token_ids + self._after if add_special_tokens else token_ids


def _around(processor: Any) -> tuple[list[int], list[int]]:
    """The tokens before and behind a single text in a `post_processor` of tokenizer.json."""
    kind = processor.get("type") if isinstance(processor, dict) else None
    if kind == "Sequence":
        found = [_around(one) for one in processor["processors"]]
        return next((pair for pair in found if pair != ([], [])), ([], []))
    if kind != "TemplateProcessing":
        return [], []
    before: list[int] = []
    after: list[int] = []
    side = before
    for piece in processor["single"]:
        if "Sequence" in piece:
            side = after
        else:
            side += processor["special_tokens"][piece["SpecialToken"]["id"]]["ids"]
    return before, after
