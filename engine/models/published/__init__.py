"""Configs of published models by name, so that they can be planned for before a byte is downloaded.

Each file is the model's config.json, less what does not concern its size or arithmetic.
"""

import os
from pathlib import Path

from engine.errors import ConfigError
from engine.models.config import ModelConfig
from engine.models.configs.read import load_model_config, parse_model_config_file


def published_names() -> list[str]:
    """The models that `published` knows."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.json"))


def model_config(model: str) -> ModelConfig:
    """The config of a checkpoint folder, of a config.json, or of a published model by its name, with or without who
    published it. Raises ConfigError."""
    path = Path(model).expanduser()
    if os.path.isdir(path):
        return load_model_config(path)
    if os.path.isfile(path):
        return parse_model_config_file(path)
    name = model.rpartition("/")[2].lower()
    for known in published_names():
        if known.lower() == name:
            return parse_model_config_file(Path(__file__).parent / f"{known}.json")
    raise ConfigError(f"{model!r} is no folder, no file and no known model; known: {', '.join(published_names())}")
