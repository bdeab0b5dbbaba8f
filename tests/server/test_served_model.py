"""What is read from a checkpoint's config files."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.served import TINY

from engine import ConfigError
from server.sampling import SamplingDefaults
from server.served_model import ServedModel, eos_ids, sampling_defaults
from server.text.tokenizer import load_tokenizer

WHERE = Path("generation_config.json")


def test_load(tmp_path: Path) -> None:
    folder = tmp_path / "tiny-kimi"
    shutil.copytree(TINY, folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "kimi_k2", "eos_token_id": 513}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [514, 513], "temperature": 0.6}))
    model = ServedModel.load(folder)
    assert model.names == ("tiny-kimi",)
    assert model.eos_ids == {513, 514}
    assert model.sampling == SamplingDefaults(temperature=0.6)
    assert ServedModel.load(folder, ("a", "b")).names == ("a", "b")
    (folder / "generation_config.json").unlink()
    assert ServedModel.load(folder).eos_ids == {513}


def test_a_tokenizer_larger_than_the_embedding_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "tiny-kimi"
    shutil.copytree(TINY, folder)
    size = load_tokenizer(folder).vocab_size
    for config in ({"vocab_size": size}, {"vocab_size": size + 9}, {"text_config": {"vocab_size": size}}):
        (folder / "config.json").write_text(json.dumps({"model_type": "kimi_k2", **config}))
        ServedModel.load(folder)
    for config in ({"vocab_size": size - 1}, {"vocab_size": size, "text_config": {"vocab_size": size - 1}}):
        (folder / "config.json").write_text(json.dumps({"model_type": "kimi_k2", **config}))
        with pytest.raises(ConfigError, match=rf"vocab_size is {size - 1}, but the tokenizer has {size} tokens"):
            ServedModel.load(folder)


@pytest.mark.parametrize(
    ("alias", "for_it", "not_for_it"),
    [
        ("claude-*", ("claude-", "claude-sonnet-5", "claude-*"), ("claude", "a-claude-5", "Claude-5", "claude-\n")),
        ("gpt.4", ("gpt.4",), ("gpt-4", "gpt.4o", "")),
        ("*", ("", "anything", "org/any:thing"), ("a" * 257,)),
        ("a*b*c", ("abc", "a-b-b-c"), ("ab", "acb", "xabc")),
    ],
)
def test_aliases(tmp_path: Path, alias: str, for_it: tuple[str, ...], not_for_it: tuple[str, ...]) -> None:
    (tmp_path / "config.json").write_text("{}")
    for file in TINY.iterdir():
        shutil.copy(file, tmp_path)
    model = ServedModel.load(tmp_path, ("own",), aliases=("unrelated", alias))
    assert all(map(model.answers_to, ("own", "unrelated", *for_it)))
    assert not any(map(model.answers_to, not_for_it))
    assert model.names == ("own",)


@pytest.mark.parametrize(
    ("file", "defaults"),
    [
        ({}, SamplingDefaults()),
        ({"temperature": None, "top_k": None}, SamplingDefaults()),
        (
            {"do_sample": True, "temperature": 1, "top_p": 0.95, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1},
            SamplingDefaults(temperature=1.0, top_p=0.95, top_k=20, min_p=0.05, repetition_penalty=1.1),
        ),
        ({"do_sample": False, "temperature": 0.7, "top_p": 0.5}, SamplingDefaults(temperature=0.0, top_p=0.5)),
    ],
)
def test_sampling_defaults(file: dict[str, Any], defaults: SamplingDefaults) -> None:
    assert sampling_defaults(file, WHERE) == defaults


@pytest.mark.parametrize(
    "file",
    [
        {"temperature": "warm"},
        {"temperature": -1},
        {"temperature": float("nan")},
        {"temperature": True},
        {"top_p": -0.1},
        {"top_p": 2},
        {"top_k": 1.5},
        {"top_k": -1},
        {"repetition_penalty": 0},
    ],
    ids=str,
)
def test_wrong_sampling_defaults_are_named(file: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"generation_config.json: {next(iter(file))} is"):
        sampling_defaults(file, WHERE)


@pytest.mark.parametrize(("value", "ids"), [(None, set()), (5, {5}), ([5, 6, 5], {5, 6}), ([], set()), (0, {0})])
def test_eos_ids(value: Any, ids: set[int]) -> None:
    assert eos_ids({"eos_token_id": value}, WHERE) == ids


@pytest.mark.parametrize("value", ["</s>", -1, [1, "2"], 1.5, True])
def test_wrong_eos_ids_are_named(value: Any) -> None:
    with pytest.raises(ConfigError, match="eos_token_id"):
        eos_ids({"eos_token_id": value}, WHERE)
