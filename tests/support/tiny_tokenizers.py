"""Byte-level tokenizers with the control tokens of a family, for tests that must run without published files."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

# Tokens that reach over the borders which parsers and grammars care about.
PAIRS = (
    '"}',
    '"}}',
    '"}}]',
    "}}",
    "}]",
    '": ',
    ', "',
    '{"',
    '["',
    "[{",
    "``",
    "```",
    "\n```",
    "json",
    "\n\n",
    "漢",
    "ü",
)


def write_byte_tokenizer(folder: Path, control: Sequence[str], pairs: Iterable[str] = PAIRS) -> None:
    """Writes `tokenizer.json`: the 256 bytes, `pairs` (each made of tokens before it), and control tokens."""
    alphabet = [chr(byte) for byte in range(256) if _prints(byte)]
    hidden = 256
    letters = {}
    for byte in range(256):
        letters[byte] = chr(byte) if _prints(byte) else chr(hidden)
        hidden += not _prints(byte)
    assert len(alphabet) + hidden - 256 == 256
    vocabulary = {letters[byte]: byte for byte in range(256)}
    merges = []
    for text in pairs:
        spelled = [letters[byte] for byte in text.encode()]
        for end in range(2, len(spelled) + 1):
            whole = "".join(spelled[:end])
            if whole not in vocabulary:
                merges.append(["".join(spelled[: end - 1]), spelled[end - 1]])
                vocabulary[whole] = len(vocabulary)
    added = [
        {"id": len(vocabulary) + n, "content": name, "special": False, "single_word": False}
        | {"lstrip": False, "rstrip": False, "normalized": False}
        for n, name in enumerate(control)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    model = {"type": "BPE", "vocab": vocabulary, "merges": merges, "byte_fallback": False, "ignore_merges": False}
    model |= {"dropout": None, "unk_token": None, "fuse_unk": False}
    model |= {"continuing_subword_prefix": None, "end_of_word_suffix": None}
    description = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": model,
    }
    (folder / "tokenizer.json").write_text(json.dumps(description), encoding="utf-8")


def _prints(byte: int) -> bool:
    """Whether byte-level vocabularies spell a byte as itself (GPT-2)."""
    return 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or byte >= 0xAE
