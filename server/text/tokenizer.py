"""The tokenizer contract and the choice of one for a checkpoint folder.

A *control token* is one that only a template or the model may write (`<|im_end|>`). Text never becomes one:
`encode` reads `<|im_end|>` as the characters it is made of.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from engine import ConfigError
from server.text.checkpoint_json import is_present


class Tokenizer(Protocol):
    """Text to token ids and back. Implementations are immutable and may be shared between threads."""

    @property
    def vocab_size(self) -> int:
        """One more than the highest token id."""
        ...

    @property
    def control_tokens(self) -> Mapping[str, int]:
        """The text of each control token, and its id."""
        ...

    def encode(self, text: str) -> list[int]:
        """The ids of `text` read as plain text: never a control token, whatever it says. Lone surrogates are
        read as U+FFFD."""
        ...

    def is_control(self, token_id: int) -> bool:
        """Whether `token_id` is a control token."""
        ...

    def token_bytes(self, token_id: int) -> bytes:
        """The exact bytes of a token, which may be part of a character. For a control token the bytes of its
        text; for an id that no token has, nothing."""
        ...


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a checkpoint: `tiktoken.model` (Kimi) or `tokenizer.json` (Hugging Face).

    Raises ConfigError when there is neither, or when the file is damaged or of a kind not supported here.
    """
    # Imported here, so that a server loads only the library that its checkpoint needs.
    if is_present(folder / "tiktoken.model"):
        from server.text.tiktoken_tokenizer import TiktokenTokenizer

        return TiktokenTokenizer.load(folder)
    if is_present(folder / "tokenizer.json"):
        from server.text.huggingface_tokenizer import HuggingFaceTokenizer

        return HuggingFaceTokenizer.load(folder)
    raise ConfigError(f"{folder} has no tokenizer: expected tiktoken.model or tokenizer.json in it")
