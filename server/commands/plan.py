"""`abruzzi plan`: whether a model fits on given GPUs, and how fast their memory lets it be."""

import dataclasses

from rich.console import Console
from rich.table import Table

from engine import (
    Capacity,
    ConfigError,
    Formats,
    Hardware,
    ModelConfig,
    changes_that_fit,
    model_config,
    plan_capacity,
    quantized,
    speed,
)

CONTEXT = 131_072
BATCHES = (1, 4, 16, 64, 256)
UNITS = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def plan(
    model: str,
    hardware: Hardware,
    context: int | None,
    concurrency: int,
    quantize: str | None,
    kv_cache_dtype: str,
    console: Console,
) -> bool:
    """Prints the plan. Returns whether `concurrency` requests of `context` tokens fit. Raises ConfigError."""
    config = model_config(model)
    if context is None:
        context = min(CONTEXT, config.max_position_embeddings)
    elif context > config.max_position_embeddings:
        raise ConfigError(
            f"--context {context} exceeds the {config.max_position_embeddings} positions that {model} knows: lower it"
        )
    formats = config.formats if quantize is None else quantized(quantize)  # type: ignore[arg-type]
    formats = dataclasses.replace(formats, kv=kv_cache_dtype)  # type: ignore[arg-type]
    made = plan_capacity(config, formats, hardware)
    wanted = context * concurrency
    console.print(_memory(made, hardware))
    console.print(
        f"{made.kv_tokens:,} tokens fit in the KV cache ({made.kv_bytes_per_token:,} bytes a token and GPU); "
        f"{concurrency} requests of {context:,} tokens need {wanted:,}."
    )
    fits = made.left > 0 and made.kv_tokens >= wanted
    if fits:
        console.print("[bold green]It fits.[/]")
    else:
        changes = changes_that_fit(config, formats, hardware, context, concurrency)
        console.print(
            "[bold red]It does not fit.[/] Any one of these would make it fit: " + ", ".join(changes or ["none"])
        )
    console.print(_speeds(config, formats, hardware, context, made.kv_tokens))
    console.print(
        "Bounds by memory bandwidth for decoding, with all weights spread evenly and uniform routing; "
        "a real engine stays below. *: more than the KV cache holds."
    )
    return fits


def _memory(made: Capacity, hardware: Hardware) -> Table:
    table = Table("of each GPU", "bytes", "", title=f"GPUs: {hardware.gpus} of {_human(hardware.memory)}")
    for part, size in made.weights.items():
        table.add_row(part, f"{size:,}", _human(size))
    table.add_row("runtime and activations", f"{made.reserved:,}", f"{_human(made.reserved)} (an allowance)")
    table.add_row("KV cache", f"{max(made.left, 0):,}", _human(made.left) if made.left > 0 else "nothing is left")
    return table


def _speeds(config: ModelConfig, formats: Formats, hardware: Hardware, context: int, kv_tokens: int) -> Table:
    table = Table(
        "batch", "experts touched", "read a step and GPU", "tokens/s at most", "of each request",
        title=f"{hardware.bandwidth / 1e12:g} TB/s a GPU, {context:,} tokens of context",
    )  # fmt: skip
    for batch in BATCHES:
        one = speed(config, formats, hardware, batch, context)
        touched = f"{one.experts_touched:.0f}" if config.moe_layers else "–"
        each = f"{one.tokens_a_second / batch:,.1f}"
        mark = "*" if batch * context > kv_tokens else ""
        table.add_row(f"{batch}{mark}", touched, _human(one.bytes_a_step), f"{one.tokens_a_second:,.0f}", each)
    return table


def _human(size: float) -> str:
    for unit, scale in UNITS:
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size:.0f} bytes"
