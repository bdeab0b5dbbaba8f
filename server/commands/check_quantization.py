"""`abruzzi check-quantization`: what storing a model's matrices or its KV cache in few bits does to its answers."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from engine import ConfigError
from server.commands.engine_program import run_engine_program
from server.text.tokenizer import load_tokenizer


def check_quantization(
    model: Path, quantize: str | None, kv_cache_dtype: str, text: Path, tokens: int, window: int, console: Console
) -> None:
    """Prints divergence and perplexities over the first `tokens` tokens of a text file. Raises ConfigError."""
    try:
        content = text.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the text {text}: {error}") from None
    ids = load_tokenizer(model).encode(content)[:tokens]
    found: dict[str, Any] = run_engine_program(
        "engine.quantization_error",
        {
            "model": str(model),
            "quantize": quantize,
            "kv_cache_dtype": kv_cache_dtype,
            "token_ids": ids,
            "window": window,
        },
    )
    changed = [quantize] if quantize else []
    changed += ["KV cache in fp8"] if kv_cache_dtype == "fp8" else []
    table = Table("", "original", ", ".join(changed), title=f"{found['tokens']:,} tokens of {text.name}")
    table.add_row("perplexity", f"{found['perplexity']:.4f}", f"{found['packed_perplexity']:.4f}")
    table.add_row("KL divergence, mean", "", f"{found['divergence']:.6f} nats")
    table.add_row("KL divergence, worst", "", f"{found['worst']:.6f} nats")
    table.add_row("same most likely token", "", f"{found['agreement']:.2%}")
    console.print(table)
