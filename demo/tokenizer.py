"""A small tokenizer in the file format of Kimi K2: ranks in tiktoken.model, control tokens behind them.

id   0 ... 255 | 256 ... ranks-1       | ranks ... ranks+255
     bytes     | merges, most frequent | control tokens, in Kimi K2's order; unnamed ones are reserved
"""

import base64
import json
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

RANKS = 4096
CONTROL_SLOTS = 256
VOCAB_SIZE = RANKS + CONTROL_SLOTS

# Place behind the last rank -> (text, is "special" in Kimi's table). Thoughts have the places of Kimi K2.5.
CONTROL_TOKENS: dict[int, tuple[str, bool]] = {
    0: ("[BOS]", True),
    1: ("[EOS]", True),
    2: ("<|im_end|>", True),
    3: ("<|im_user|>", True),
    4: ("<|im_assistant|>", True),
    6: ("<|start_header_id|>", True),
    7: ("<|end_header_id|>", True),
    9: ("[EOT]", True),
    10: ("<|im_system|>", True),
    11: ("<|tool_calls_section_begin|>", False),
    12: ("<|tool_calls_section_end|>", False),
    13: ("<|tool_call_begin|>", False),
    14: ("<|tool_call_argument_begin|>", False),
    15: ("<|tool_call_end|>", False),
    17: ("<|im_middle|>", True),
    22: ("<think>", False),
    23: ("</think>", False),
    254: ("[UNK]", True),
    255: ("[PAD]", True),
}
BOS, END_OF_TURN, PAD = RANKS, RANKS + 2, RANKS + 255

# Where learnt tokens may not cross: close to the split that Kimi's encoder makes, without its treatment of Chinese.
_SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"  # fmt: skip


def learn_ranks() -> list[bytes]:
    """The bytes of each rank, learnt from Python's language reference; the same on every run of one Python."""
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=RANKS, initial_alphabet=letters, show_progress=False)
    learner = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(_SPLIT), "isolated")
    learner.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    learner.train_from_iterator((topics[name] for name in sorted(topics)), trainer)
    vocabulary: dict[str, int] = learner.get_vocab()
    letter_bytes = _letter_bytes()
    merges = [word for word in sorted(vocabulary, key=vocabulary.__getitem__) if len(word) > 1]
    ranks = [bytes([value]) for value in range(256)]
    ranks += [bytes(letter_bytes[letter] for letter in word) for word in merges]
    assert len(ranks) == len(set(ranks)) == RANKS
    return ranks


def write_tokenizer(folder: Path, ranks: list[bytes]) -> None:
    """Writes tiktoken.model, tokenizer_config.json and chat_template.jinja."""
    lines = [base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(ranks)]
    (folder / "tiktoken.model").write_bytes(b"".join(lines))
    (folder / "tokenizer_config.json").write_text(json.dumps(_tokenizer_config(), indent=2) + "\n", "utf-8")
    template = Path(__file__).with_name("chat_template.jinja").read_bytes()
    (folder / "chat_template.jinja").write_bytes(template)


def _tokenizer_config() -> dict[str, Any]:
    plain = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    return {
        "added_tokens_decoder": {
            str(RANKS + place): {"content": text, **plain, "special": special}
            for place, (text, special) in CONTROL_TOKENS.items()
        },
        "bos_token": "[BOS]",
        "eos_token": "[EOS]",
        "unk_token": "[UNK]",
        "pad_token": "[PAD]",
        "clean_up_tokenization_spaces": False,
        "tokenizer_class": "TikTokenTokenizer",
    }


def _letter_bytes() -> dict[str, int]:
    """The byte that each letter of the trainer's alphabet stands for: printable Latin-1 characters stand for
    themselves, the others were moved to U+0100 and up, in order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [value for value in range(256) if value not in printable]
    return {chr(value): value for value in printable} | {chr(256 + i): value for i, value in enumerate(moved)}
