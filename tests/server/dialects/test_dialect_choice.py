"""`--dialect`: a dialect by name, or a refusal that says why."""

import json
import re
import shutil
from pathlib import Path

import pytest
from support.tiny_tokenizers import write_byte_tokenizer

from engine import ConfigError
from server.dialects.registry import AUTO, FAMILIES, load_dialect
from server.served_model import ServedModel
from server.settings import load_settings
from server.text.tokenizer import load_tokenizer

TINY_KIMI = Path(__file__).parents[2] / "data" / "tiny_kimi"
NAMES = [family.name for family in FAMILIES]


def test_names_are_words_of_their_own() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert AUTO not in NAMES
    assert all(re.fullmatch("[a-z0-9.-]+", name) for name in NAMES)


@pytest.mark.parametrize("family", FAMILIES, ids=NAMES)
def test_a_named_dialect_is_taken_whatever_the_checkpoint_is(family: type, tmp_path: Path) -> None:
    write_byte_tokenizer(tmp_path, family.needs)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "other"}))
    dialect = load_dialect(tmp_path, load_tokenizer(tmp_path), family.name)
    assert type(dialect) is family
    assert dialect.calls_tools is bool(family.needs)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family.needs], ids=lambda family: family.name)
def test_a_dialect_whose_tokens_lack_is_refused(family: type, tmp_path: Path) -> None:
    *given, last = family.needs
    write_byte_tokenizer(tmp_path, given)
    with pytest.raises(ConfigError, match=rf"--dialect {family.name} needs .* lacks: {re.escape(last)}\. Leave"):
        load_dialect(tmp_path, load_tokenizer(tmp_path), family.name)


def test_an_unknown_name_is_answered_with_the_list() -> None:
    with pytest.raises(ConfigError, match=r"no dialect 'qwen'; give --dialect one of auto, .*qwen3, qwen3-coder"):
        load_dialect(TINY_KIMI, load_tokenizer(TINY_KIMI), "qwen")


def test_from_the_settings_to_the_model(tmp_path: Path) -> None:
    shutil.copytree(TINY_KIMI, tmp_path, dirs_exist_ok=True)
    (tmp_path / "config.json").write_text("{}")
    for flags, environment, name in (
        ({}, {}, "kimi"),
        ({"dialect": "generic"}, {}, "generic"),
        ({}, {"ABRUZZI_DIALECT": "generic"}, "generic"),
    ):
        settings = load_settings(flags, environment)
        assert ServedModel.load(tmp_path, dialect=settings.dialect).dialect.name == name
