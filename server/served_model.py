"""ServedModel: what the API process knows of the checkpoint: names, text in and out, defaults. No weights."""

import functools
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from engine import ConfigError
from server.dialects.dialect import Dialect
from server.dialects.registry import AUTO, load_dialect
from server.sampling import SamplingDefaults
from server.text.checkpoint_json import read_json_object, read_optional_json_object
from server.text.tokenizer import Tokenizer, load_tokenizer

MAX_NAME = 256  # characters of a name that is looked for among the aliases

# name in generation_config.json -> its type, and which values are usable
DEFAULTS: dict[str, tuple[type[int] | type[float], Callable[[float], bool]]] = {
    "temperature": (float, lambda value: 0 <= value < math.inf),
    "top_p": (float, lambda value: 0 <= value <= 1),
    "top_k": (int, lambda value: 0 <= value < 2**31),
    "min_p": (float, lambda value: 0 <= value <= 1),
    "repetition_penalty": (float, lambda value: 0.01 <= value < math.inf),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model as clients see it. `names`: what it is listed as; `aliases`: what requests may call it besides, where *
    stands for any characters."""

    names: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    created: int  # unix time
    folder: Path
    tokenizer: Tokenizer
    dialect: Dialect
    sampling: SamplingDefaults
    eos_ids: frozenset[int]

    @classmethod
    def load(cls, folder: Path, names: Sequence[str] = (), dialect: str = AUTO, aliases: Sequence[str] = ()) -> Self:
        """From a checkpoint folder as published; without `names` it is called like the folder. `dialect`: by name,
        whatever the checkpoint shows. Raises ConfigError."""
        config = read_json_object(folder / "config.json")
        generation = read_optional_json_object(folder / "generation_config.json")
        tokenizer = load_tokenizer(folder)
        check_sizes(config, folder / "config.json", tokenizer)
        return cls(
            names=tuple(names) or (folder.resolve().name,),
            aliases=tuple(aliases),
            created=int(time.time()),
            folder=folder,
            tokenizer=tokenizer,
            dialect=load_dialect(folder, tokenizer, dialect),
            sampling=sampling_defaults(generation, folder / "generation_config.json"),
            eos_ids=eos_ids(config, folder / "config.json") | eos_ids(generation, folder / "generation_config.json"),
        )

    def answers_to(self, name: str) -> bool:
        """Whether a request that asks for `name` is for this model."""
        if name in self.names:
            return True
        return len(name) <= MAX_NAME and any(_pattern(alias).fullmatch(name) for alias in self.aliases)


@functools.cache
def _pattern(alias: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in alias.split("*")))


def sampling_defaults(generation: dict[str, Any], source: Path) -> SamplingDefaults:
    """Those that the file gives. `do_sample` false means greedy, as in transformers; published files that leave it
    out mean to sample, so only the word counts. Raises ConfigError."""
    given: dict[str, Any] = {}
    for name, (kind, usable) in DEFAULTS.items():
        value = generation.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | kind) or not usable(value):
            raise ConfigError(f"{source}: {name} is {value!r}, which cannot be used")
        given[name] = kind(value)
    if generation.get("do_sample") is False:
        given["temperature"] = 0.0
    return SamplingDefaults(**given)


def check_sizes(config: dict[str, Any], source: Path, tokenizer: Tokenizer) -> None:
    """Raises ConfigError if the tokenizer has tokens that the model's embedding has not; fewer are usual."""
    inner = config.get("text_config")
    size = (inner if isinstance(inner, dict) else config).get("vocab_size")
    if isinstance(size, int) and tokenizer.vocab_size > size:
        raise ConfigError(
            f"{source}: vocab_size is {size}, but the tokenizer has {tokenizer.vocab_size} tokens: one of the two is "
            "of another model"
        )


def eos_ids(config: dict[str, Any], source: Path) -> frozenset[int]:
    """`eos_token_id` of a config file: absent, one id or a list. Raises ConfigError."""
    value = config.get("eos_token_id")
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in ids):
        raise ConfigError(f"{source}: eos_token_id is {value!r}; it must be a token id or a list of them")
    return frozenset(ids)
