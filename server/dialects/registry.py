"""Chooses the dialect that a checkpoint speaks."""

from pathlib import Path

from server.dialects.dialect import Dialect
from server.dialects.generic import GenericDialect
from server.dialects.kimi import FAMILY_TOKEN, KimiDialect
from server.text.checkpoint_json import read_optional_json_object
from server.text.template import load_template
from server.text.tokenizer import Tokenizer


def load_dialect(folder: Path, tokenizer: Tokenizer) -> Dialect:
    """The dialect of the checkpoint in `folder`: by `model_type` in its config.json, or by the control tokens of its
    tokenizer, since relatives share an architecture (Moonlight calls itself deepseek_v3). Raises ConfigError for
    files that cannot be read. A checkpoint without a chat template loads; its `render` then refuses.
    """
    template = load_template(folder, tokenizer)
    model_type = str(read_optional_json_object(folder / "config.json").get("model_type", ""))
    if model_type.startswith("kimi") or FAMILY_TOKEN in tokenizer.control_tokens:
        return KimiDialect(tokenizer, template)
    return GenericDialect(tokenizer, template)
