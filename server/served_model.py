"""ServedModel: what the API process knows of the checkpoint: names, text in and out, defaults. No weights."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from engine import ConfigError
from server.dialects.dialect import Dialect
from server.dialects.registry import load_dialect
from server.sampling import SamplingDefaults
from server.text.checkpoint_json import read_json_object, read_optional_json_object
from server.text.tokenizer import Tokenizer, load_tokenizer

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
    """A model as clients see it. `names`: all that a request may call it, the first is the one answers bear."""

    names: tuple[str, ...]
    created: int  # unix time
    folder: Path
    tokenizer: Tokenizer
    dialect: Dialect
    sampling: SamplingDefaults
    eos_ids: frozenset[int]

    @classmethod
    def load(cls, folder: Path, names: Sequence[str] = ()) -> Self:
        """From a checkpoint folder as published; without `names` it is called like the folder. Raises ConfigError."""
        config = read_json_object(folder / "config.json")
        generation = read_optional_json_object(folder / "generation_config.json")
        tokenizer = load_tokenizer(folder)
        return cls(
            names=tuple(names) or (folder.resolve().name,),
            created=int(time.time()),
            folder=folder,
            tokenizer=tokenizer,
            dialect=load_dialect(folder, tokenizer),
            sampling=sampling_defaults(generation, folder / "generation_config.json"),
            eos_ids=eos_ids(config, folder / "config.json") | eos_ids(generation, folder / "generation_config.json"),
        )


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


def eos_ids(config: dict[str, Any], source: Path) -> frozenset[int]:
    """`eos_token_id` of a config file: absent, one id or a list. Raises ConfigError."""
    value = config.get("eos_token_id")
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in ids):
        raise ConfigError(f"{source}: eos_token_id is {value!r}; it must be a token id or a list of them")
    return frozenset(ids)
