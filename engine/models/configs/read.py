"""config.json -> ModelConfig: which family's reader reads it. A new family adds its lines to READERS."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.errors import CheckpointError
from engine.models.config import ModelConfig
from engine.models.configs import apertus, deepseek_v3, qwen3
from engine.models.configs.fields import Fields
from engine.models.configs.quantization import read_formats

# model_type of models that see: their language model is described within text_config.
NESTED = ("kimi_k25", "kimi_k26")
NESTED_PREFIX = "language_model."
# architecture in config.json -> its reader
READERS: dict[str, Callable[[Fields], ModelConfig]] = {
    deepseek_v3.ARCHITECTURE: deepseek_v3.read_deepseek_v3,
    qwen3.MIXTURE: qwen3.read_qwen3,
    qwen3.DENSE: qwen3.read_qwen3,
    apertus.ARCHITECTURE: apertus.read_apertus,
}


def load_model_config(folder: Path) -> ModelConfig:
    """Reads folder/config.json. Raises CheckpointError if it is absent, malformed or asks for what is unknown here."""
    path = folder / "config.json"
    try:
        path.stat()
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist: {folder} is not a checkpoint folder") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    return parse_model_config_file(path)


def parse_model_config_file(path: Path) -> ModelConfig:
    """Reads a config.json. Raises CheckpointError."""
    try:
        raw = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} holds no JSON object")
    return parse_model_config(raw, str(path))


def parse_model_config(raw: Mapping[str, Any], where: str = "config.json") -> ModelConfig:
    """Validates the content of a config.json; `where` names it in errors."""
    if raw.get("model_type") in NESTED and isinstance(raw.get("text_config"), dict):
        inner = parse_model_config(raw["text_config"], f"{where}: text_config")
        return replace(inner, prefix=NESTED_PREFIX)
    fields = Fields(raw, where)
    architectures = fields.get("architectures")
    named = architectures[0] if isinstance(architectures, list) and len(architectures) == 1 else None
    reader = READERS.get(named) if isinstance(named, str) else None
    if reader is None:
        known = ", ".join(repr([one]) for one in READERS)
        code = ". It comes with code of its own (auto_map), which is never run" if fields.get("auto_map") else ""
        raise fields.refuse(
            f"architectures {architectures!r} is not supported, only {known}{code}"
            + (": the family must be added here (docs/adding-a-model.md)" if code else "")
        )
    model = reader(fields)
    return replace(model, formats=read_formats(fields, model))
