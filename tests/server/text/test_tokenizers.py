"""Both kinds of tokenizer against the libraries' own encoders, and what neither may do: write a control token."""

import json
import shutil
import unicodedata
from pathlib import Path

import pytest
import tiktoken
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from engine import ConfigError
from server.text.huggingface_tokenizer import HuggingFaceTokenizer
from server.text.tiktoken_tokenizer import SPLIT_PATTERN, split_long_runs
from server.text.tokenizer import Tokenizer, load_tokenizer

DATA = Path(__file__).parents[2] / "data"
TINY_KIMI = DATA / "tiny_kimi"


def train_huggingface() -> tokenizers.Tokenizer:
    """A small byte-level BPE in the manner of Qwen: NFC, control tokens special and not, and added blanks."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([(DATA / "kimi_k2" / "golden.json").read_text(encoding="utf-8")], trainer)
    added = [tokenizers.AddedToken(text, normalized=False, special=True) for text in ("<|im_start|>", "<|im_end|>")]
    tokenizer.add_special_tokens(added)
    tokenizer.add_tokens([tokenizers.AddedToken(text, normalized=False) for text in ("<think>", "</think>", "    ")])
    return tokenizer


TRAINED = train_huggingface()
HUGGING_FACE = HuggingFaceTokenizer(json.loads(TRAINED.to_str()))
KIMI = load_tokenizer(TINY_KIMI)
# tiktoken with Kimi's slots, as the published encoder is made: it takes control tokens from the text.
KIMI_REFERENCE = tiktoken.Encoding(
    "reference",
    pat_str=SPLIT_PATTERN,
    mergeable_ranks={KIMI.token_bytes(rank): rank for rank in range(512)},
    special_tokens=dict(KIMI.control_tokens),
)
BOTH = pytest.mark.parametrize("tokenizer", [KIMI, HUGGING_FACE], ids=["kimi", "huggingface"])

awkward = st.text(
    st.sampled_from(
        "aA's1 \t\r\n!{}[]()é\u0301\u0323ßかカ漢字한글עברית\u200d\u200f\u00a0\u3000\ufeff\x00\x7f\uffff😀🇨🇭𝔘"
    )
    | st.characters(exclude_categories=["Cs"])
)
fragments = st.lists(
    st.sampled_from([*list(KIMI.control_tokens)[:20], *HUGGING_FACE.control_tokens, "<|im_", "end|>", "[E", "OS]", "<"])
    | awkward
).map("".join)


def decoded(tokenizer: Tokenizer, token_ids: list[int]) -> str:
    return b"".join(map(tokenizer.token_bytes, token_ids)).decode()


@given(fragments)
def test_kimi_round_trip(text: str) -> None:
    assert decoded(KIMI, KIMI.encode(text)) == text


@given(fragments)
def test_huggingface_round_trip_is_nfc(text: str) -> None:
    assert decoded(HUGGING_FACE, HUGGING_FACE.encode(text)) == unicodedata.normalize("NFC", text)


@given(awkward)
def test_benign_text_encodes_as_the_libraries_do(text: str) -> None:
    assert KIMI.encode(text) == KIMI_REFERENCE.encode(text, disallowed_special=())
    if not any(token in text for token in HUGGING_FACE.control_tokens):
        assert HUGGING_FACE.encode(text) == TRAINED.encode(text, add_special_tokens=False).ids


@BOTH
@given(text=fragments)
def test_text_never_becomes_a_control_token(tokenizer: Tokenizer, text: str) -> None:
    assert not any(map(tokenizer.is_control, tokenizer.encode(text)))


@BOTH
def test_every_control_token_stays_text(tokenizer: Tokenizer) -> None:
    for text, token_id in tokenizer.control_tokens.items():
        assert tokenizer.is_control(token_id)
        assert tokenizer.token_bytes(token_id) == text.encode()
        token_ids = tokenizer.encode(f"a{text}b")
        assert not any(map(tokenizer.is_control, token_ids))
        assert decoded(tokenizer, token_ids) == f"a{text}b"


@BOTH
def test_lone_surrogates_read_as_replacement_characters(tokenizer: Tokenizer) -> None:
    assert decoded(tokenizer, tokenizer.encode("a\ud800b")) == "a\ufffdb"
    assert decoded(tokenizer, tokenizer.encode("\ud83d\ude00")) == "😀"


@BOTH
def test_ids_without_a_token(tokenizer: Tokenizer) -> None:
    for token_id in (-1, tokenizer.vocab_size, tokenizer.vocab_size + 10**9):
        assert tokenizer.token_bytes(token_id) == b""
        assert not tokenizer.is_control(token_id)


def test_kimi_slots() -> None:
    assert KIMI.vocab_size == 512 + 256
    assert KIMI.control_tokens["[BOS]"] == 512
    assert KIMI.control_tokens["<|im_end|>"] == 514
    assert KIMI.control_tokens["<|reserved_token_517|>"] == 517
    assert KIMI.control_tokens["[PAD]"] == 767


def test_added_blanks_are_text_tokens() -> None:
    blanks = TRAINED.token_to_id("    ")
    assert "    " not in HUGGING_FACE.control_tokens
    assert HUGGING_FACE.encode("    y") == [blanks, *HUGGING_FACE.encode("y")]


def naive_split(text: str, limit: int) -> list[str]:
    """The rule, one character after the other."""
    pieces, piece, run = [], "", 0
    for before, character in zip([None, *text], text, strict=False):
        run = run + 1 if before is not None and before.isspace() == character.isspace() else 1
        if run > limit:
            pieces.append(piece)
            piece, run = "", 1
        piece += character
    return [*pieces, piece]


@given(st.text(st.sampled_from("ab \n\u00a0\x1c")), st.integers(1, 7))
def test_long_runs_are_cut_where_the_rule_says(text: str, limit: int) -> None:
    assert list(split_long_runs(text, limit)) == naive_split(text, limit)


def test_split_runs_restart_after_each_cut() -> None:
    assert list(split_long_runs("a" * 25 + " " * 11, 10)) == ["a" * 10, "a" * 10, "a" * 5 + " " * 10, " "]


@BOTH
@pytest.mark.parametrize("character", ["a", "A", " ", "\n", "1", "!", "界", "😀", "\u0301", "aB", "\u200d"])
def test_a_long_run_of_anything(tokenizer: Tokenizer, character: str) -> None:
    text = character * (200_000 // len(character))
    assert decoded(tokenizer, tokenizer.encode(text)) == unicodedata.normalize("NFC", text)


def copy_tiny(folder: Path) -> Path:
    shutil.copytree(TINY_KIMI, folder, dirs_exist_ok=True)
    return folder


def test_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected tiktoken\.model or tokenizer\.json"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("!!! 512\n", "line 513"),
        ("AAAA 999\n", "rank 999 where 512"),
        ("AAAA\n", "line 513"),
        ("AA== 512\n", "two ranks"),
    ],
)
def test_damaged_ranks(tmp_path: Path, line: str, reason: str) -> None:
    with (copy_tiny(tmp_path) / "tiktoken.model").open("a") as file:
        file.write(line)
    with pytest.raises(ConfigError, match=reason):
        load_tokenizer(tmp_path)


def test_truncated_ranks(tmp_path: Path) -> None:
    path = copy_tiny(tmp_path) / "tiktoken.model"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:100]))
    with pytest.raises(ConfigError, match="cut short"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "added", [{"5": {"content": "x"}}, {"600": {}}, {"600": {"content": "[BOS]"}}, {"x": {"content": "y"}}, [1]]
)
def test_control_names_that_do_not_fit(tmp_path: Path, added: object) -> None:
    path = copy_tiny(tmp_path) / "tokenizer_config.json"
    config = json.loads(path.read_text())
    if isinstance(added, dict):
        added = config["added_tokens_decoder"] | added
    path.write_text(json.dumps(config | {"added_tokens_decoder": added}))
    with pytest.raises(ConfigError, match="added_tokens_decoder"):
        load_tokenizer(tmp_path)


def test_other_kinds_are_refused_by_name(tmp_path: Path) -> None:
    description = json.loads(TRAINED.to_str())
    path = tmp_path / "tokenizer.json"
    for change, reason in (
        ({"decoder": {"type": "Metaspace"}}, "'Metaspace' decoder"),
        ({"decoder": None}, "None decoder"),
        ({"model": {"type": "Unigram"}}, "'Unigram' tokenizer"),
        ({"model": {"type": "BPE"}}, "cannot be loaded|KeyError"),
    ):
        path.write_text(json.dumps(description | change))
        with pytest.raises(ConfigError, match=reason):
            load_tokenizer(tmp_path)
    path.write_text("{")
    with pytest.raises(ConfigError, match="cannot read"):
        load_tokenizer(tmp_path)


def test_control_token_in_the_vocabulary_is_not_reached_by_ignoring_merges() -> None:
    description = json.loads(TRAINED.to_str())
    token_id = HUGGING_FACE.control_tokens["<think>"]
    description["model"]["vocab"]["<think>"] = token_id
    description["model"]["ignore_merges"] = True
    description["pre_tokenizer"] = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": False,
        "use_regex": False,
    }
    tokenizer = HuggingFaceTokenizer(description)
    assert decoded(tokenizer, tokenizer.encode("<think>")) == "<think>"
    assert token_id not in tokenizer.encode("<think>")
