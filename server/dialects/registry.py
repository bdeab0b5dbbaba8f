"""Chooses the dialect that a checkpoint speaks."""

from pathlib import Path

from engine import ConfigError
from server.dialects.apertus import ApertusDialect
from server.dialects.deepseek import DeepSeekDialect, DeepSeekR1Dialect
from server.dialects.dialect import Dialect
from server.dialects.generic import GenericDialect
from server.dialects.kimi import KimiDialect
from server.dialects.qwen import QwenCoderDialect, QwenDialect
from server.text.checkpoint_json import read_optional_json_object
from server.text.template import load_template
from server.text.tokenizer import Tokenizer

AUTO = "auto"
# The first that speaks for a checkpoint is chosen; the last speaks for any.
FAMILIES: tuple[type[GenericDialect], ...] = (
    KimiDialect,
    DeepSeekR1Dialect,
    DeepSeekDialect,
    ApertusDialect,
    QwenCoderDialect,
    QwenDialect,
    GenericDialect,
)


def load_dialect(folder: Path, tokenizer: Tokenizer, name: str = AUTO) -> Dialect:
    """The dialect of the checkpoint in `folder`, or the one called `name`. Raises ConfigError for files that cannot be
    read, a name that is unknown, or a named dialect whose control tokens the tokenizer lacks. A checkpoint without a
    chat template loads; its `render` then refuses.
    """
    template = load_template(folder, tokenizer)
    if name != AUTO:
        return _named(name, folder, tokenizer)(tokenizer, template)
    model_type = str(read_optional_json_object(folder / "config.json").get("model_type", ""))
    family = next(family for family in FAMILIES if family.speaks_for(model_type, tokenizer, template))
    return family(tokenizer, template)


def _named(name: str, folder: Path, tokenizer: Tokenizer) -> type[GenericDialect]:
    known = {family.name: family for family in FAMILIES}
    family = known.get(name)
    if family is None:
        raise ConfigError(f"there is no dialect {name!r}; give --dialect one of {', '.join((AUTO, *sorted(known)))}")
    missing = [token for token in family.needs if token not in tokenizer.control_tokens]
    if missing:
        raise ConfigError(
            f"--dialect {name} needs control tokens that the tokenizer in {folder} lacks: {', '.join(missing)}. Leave "
            "the flag out to follow the checkpoint"
        )
    return family
