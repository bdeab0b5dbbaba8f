"""`abruzzi check-quantization`: what storing a model's matrices in few bits does to its answers."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from engine import ConfigError
from server.commands.engine_program import run_engine_program
from server.text.tokenizer import load_tokenizer


def check_quantization(model: Path, quantize: str, text: Path, tokens: int, window: int, console: Console) -> None:
    """Prints divergence and perplexities over the first `tokens` tokens of a text file. Raises ConfigError."""
    try:
        content = text.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the text {text}: {error}") from None
    ids = load_tokenizer(model).encode(content)[:tokens]
    found: dict[str, Any] = run_engine_program(
        "engine.quantization_error",
        {"model": str(model), "quantize": quantize, "token_ids": ids, "window": window},
    )
    table = Table("", "original", quantize, title=f"{found['tokens']:,} tokens of {text.name}")
    table.add_row("perplexity", f"{found['perplexity']:.4f}", f"{found['packed_perplexity']:.4f}")
    table.add_row("KL divergence, mean", "", f"{found['divergence']:.6f} nats")
    table.add_row("KL divergence, worst", "", f"{found['worst']:.6f} nats")
    table.add_row("same most likely token", "", f"{found['agreement']:.2%}")
    console.print(table)
