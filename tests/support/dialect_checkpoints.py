"""Checkpoint folders of the families, without weights: published templates on byte-level tokenizers."""

import json
from pathlib import Path
from typing import Any

from support.tiny_tokenizers import write_byte_tokenizer

from server.dialects import apertus_tokens, deepseek_tokens
from server.dialects.registry import AUTO, load_dialect
from server.text.tokenizer import Tokenizer, load_tokenizer

DATA = Path(__file__).parents[1] / "data"
MODELS = Path(__file__).parents[3] / "shared" / "data" / "models"

DEEPSEEK = (
    *(deepseek_tokens.BEGIN, *deepseek_tokens.ENDS, deepseek_tokens.THINK, deepseek_tokens.END_THINK),
    *("<｜User｜>", "<｜Assistant｜>", *deepseek_tokens.CALL_MARKERS),
    *("<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>", "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>"),
)
APERTUS = (
    *("<s>", "</s>", "<pad>", "<|system_start|>", "<|system_end|>", "<|developer_start|>", "<|developer_end|>"),
    *("<|user_start|>", "<|user_end|>", "<|assistant_start|>", "<|assistant_end|>"),
    *(apertus_tokens.THINK, apertus_tokens.END_THINK, *apertus_tokens.CALL_MARKERS),
)


def deepseek(folder: Path, template: str, name: str = AUTO) -> tuple[Tokenizer, Any]:
    """The tokenizer and the dialect of a DeepSeek checkpoint with this template."""
    return _checkpoint(folder, template, DEEPSEEK, name, "deepseek_v3", deepseek_tokens.BEGIN, deepseek_tokens.ENDS)


def apertus(folder: Path, template: str, name: str = AUTO) -> tuple[Tokenizer, Any]:
    """The tokenizer and the dialect of an Apertus checkpoint with this template."""
    ends = (*apertus_tokens.ENDS, apertus_tokens.CALLS_END)
    return _checkpoint(folder, template, APERTUS, name, "apertus", "<s>", ends)


def _checkpoint(
    folder: Path,
    template: str,
    control: tuple[str, ...],
    name: str,
    model_type: str,
    begin: str,
    ends: tuple[str, ...],
) -> tuple[Tokenizer, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    write_byte_tokenizer(folder, control)
    tokenizer = load_tokenizer(folder)
    stop = [tokenizer.control_tokens[end] for end in ends]
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"model_type": model_type, "eos_token_id": stop}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": begin}))
    return tokenizer, load_dialect(folder, tokenizer, name)
