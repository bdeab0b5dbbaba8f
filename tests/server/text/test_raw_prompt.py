"""Raw prompts: control tokens by name, and what the checkpoint's own tokenizer puts around a text."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.served import TINY
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from server.text.raw_prompt import RawEncoder
from server.text.tokenizer import load_tokenizer

KIMI = load_tokenizer(TINY)
SPECIAL = ["<bos>", "<eos>", "<|turn|>", "<|turn|>more"]


@settings(deadline=None)
@given(st.lists(st.one_of(st.text(max_size=8), st.sampled_from(sorted(KIMI.control_tokens)))))
def test_what_is_between_control_tokens_is_encoded_by_itself(pieces: list[str]) -> None:
    encoder = RawEncoder.load(TINY, KIMI)
    expected: list[int] = []
    text = ""
    for piece in [*pieces, "[EOS]"]:
        if piece in KIMI.control_tokens:
            expected += [*KIMI.encode(text), KIMI.control_tokens[piece]]
            text = ""
        else:
            text += piece
    assert encoder.encode("".join([*pieces, "[EOS]"])) == expected


def test_plain_text_is_plain() -> None:
    text = "<|im_en d|> and <|no_such_token|> are text"
    assert RawEncoder.load(TINY, KIMI).encode(text) == KIMI.encode(text)


def write_tokenizer(folder: Path, processor: Any, **config: Any) -> None:
    """A small byte-level tokenizer, as Hugging Face writes it."""
    library = Library(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    library.train_from_iterator(
        ["the cat and the dog"] * 3,
        trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False),
    )
    ids = [(name, library.token_to_id(name)) for name in SPECIAL]
    library.post_processor = processor(ids)
    PreTrainedTokenizerFast(tokenizer_object=library, bos_token="<bos>", eos_token="<eos>").save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))


def nothing(ids: Any) -> Any:
    return processors.ByteLevel(trim_offsets=False)


def before(ids: Any) -> Any:
    return processors.TemplateProcessing(single="<bos> $A", special_tokens=ids)


def around(ids: Any) -> Any:
    return processors.TemplateProcessing(single="<bos> $A <eos>", special_tokens=ids)


def in_sequence(ids: Any) -> Any:
    return processors.Sequence([nothing(ids), before(ids)])


@pytest.mark.parametrize("processor", [nothing, before, around, in_sequence])
@pytest.mark.parametrize("text", ["the cat", "<|turn|>the dog<|turn|>more<eos>", " cat  \n<bos>"])
def test_as_transformers_encodes(tmp_path: Path, processor: Any, text: str) -> None:
    write_tokenizer(tmp_path, processor)
    encoder = RawEncoder.load(tmp_path, load_tokenizer(tmp_path))
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for special in (True, False):
        assert encoder.encode(text, add_special_tokens=special) == theirs(text, add_special_tokens=special).input_ids


@pytest.mark.parametrize(("processor", "said", "count"), [(nothing, True, 1), (before, False, 0), (around, True, 1)])
def test_the_configuration_decides_on_the_beginning_of_sequence(
    tmp_path: Path, processor: Any, said: bool, count: int
) -> None:
    write_tokenizer(tmp_path, processor, add_bos_token=said)
    tokenizer = load_tokenizer(tmp_path)
    token_ids = RawEncoder.load(tmp_path, tokenizer).encode("the cat")
    assert token_ids.count(tokenizer.control_tokens["<bos>"]) == count
