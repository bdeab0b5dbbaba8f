"""The commands about models and machines: `abruzzi plan | doctor | check-quantization`. Added to the command line by
server/cli.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from engine import ConfigError
from server.option_kinds import RATE, SIZE

PLAN_HELP = (
    "Whether a model fits on given GPUs, and how fast their memory lets it be.\n\n"
    "MODEL is a checkpoint folder, a config.json, or the name of a published model such as Kimi-K2-Instruct. Exit "
    "status 1: it does not fit."
)
CHECK_HELP = (
    "What storing a model's matrices or its KV cache in 8 or 4 bits does to its answers.\n\n"
    "Reads a text with the model as it is and with --quantize or --kv-cache-dtype, and compares what they expect next."
)

Model = Annotated[str, typer.Argument(metavar="MODEL", help="Folder, config.json or name.", show_default=False)]
Quantize = Annotated[str | None, typer.Option("--quantize", metavar="int8|int4", help="As in `abruzzi serve`.")]
KVCacheDtype = Annotated[str, typer.Option("--kv-cache-dtype", metavar="auto|fp8", help="As in `abruzzi serve`.")]


def add_tools(app: typer.Typer, command: type[Any], fail: Callable[[Exception, int], Any]) -> None:
    """Adds the commands to `app`; `fail` prints an error and leaves with a status."""

    @app.command("plan", cls=command, help=PLAN_HELP)
    def _plan(
        model: Model,
        gpus: Annotated[int, typer.Option("--gpus", min=1, max=1024, metavar="N", help="GPUs.")] = 8,
        gpu_memory: Annotated[
            str, typer.Option("--gpu-memory", metavar="SIZE", help="Memory of each: 80GB, 141GB, 131GiB.")
        ] = "141GB",
        bandwidth: Annotated[
            str, typer.Option("--gpu-bandwidth", metavar="RATE", help="Memory bandwidth of each: 3.35TB/s, 4.8TB/s.")
        ] = "4.8TB/s",
        context: Annotated[
            int | None,
            typer.Option(
                "--context",
                min=1,
                metavar="N",
                help="Tokens of each request. Default: 131,072, or all that the model knows.",
            ),
        ] = None,
        concurrency: Annotated[int, typer.Option("--concurrency", min=1, metavar="N", help="Requests.")] = 64,
        quantize: Quantize = None,
        kv_cache_dtype: KVCacheDtype = "auto",
    ) -> None:
        from rich.console import Console

        from engine import Hardware
        from server.commands.plan import plan

        hardware = Hardware(
            gpus, _parsed(SIZE, gpu_memory, "--gpu-memory"), _parsed(RATE, bandwidth, "--gpu-bandwidth")
        )
        try:
            fits = plan(model, hardware, context, concurrency, _format(quantize), _kv(kv_cache_dtype), Console())
        except ConfigError as error:
            fail(error, 2)
        raise typer.Exit(0 if fits else 1)

    @app.command("doctor", cls=command, help="What this machine is, and what the engine can use of it.")
    def _doctor() -> None:
        from rich.console import Console

        from server.commands.doctor import doctor

        try:
            doctor(Console())
        except ConfigError as error:
            fail(error, 1)

    @app.command("check-quantization", cls=command, help=CHECK_HELP)
    def _check_quantization(
        model: Annotated[Path, typer.Argument(metavar="MODEL", help="Checkpoint folder.", show_default=False)],
        text: Annotated[Path, typer.Option("--text", metavar="FILE", help="Text to read, UTF-8.")],
        quantize: Annotated[
            str | None,
            typer.Option(
                "--quantize",
                metavar="int8|int4",
                help="As in `abruzzi serve`. Default: int4, or with --kv-cache-dtype fp8 none.",
            ),
        ] = None,
        kv_cache_dtype: KVCacheDtype = "auto",
        tokens: Annotated[int, typer.Option("--tokens", min=2, metavar="N", help="How much of it at most.")] = 4096,
        window: Annotated[int, typer.Option("--window", min=2, metavar="N", help="Tokens read as one text.")] = 512,
    ) -> None:
        from rich.console import Console

        from server.commands.check_quantization import check_quantization

        try:
            packed = _format(quantize) or ("int4" if _kv(kv_cache_dtype) == "auto" else None)
            check_quantization(model, packed, kv_cache_dtype, text, tokens, window, Console())
        except ConfigError as error:
            fail(error, 1)

    def _parsed(kind: Any, raw: str, flag: str) -> Any:
        try:
            return kind.parse(raw)
        except (ValueError, OverflowError):
            fail(ConfigError(f"{flag}: {raw!r} is not allowed; give {kind.allowed}"), 2)

    def _kv(word: str) -> str:
        if word not in ("auto", "fp8"):
            fail(ConfigError(f"--kv-cache-dtype: {word!r} is not allowed; give auto or fp8"), 2)
        return word

    def _format(word: str | None) -> str | None:
        if word not in (None, "int8", "int4"):
            fail(ConfigError(f"--quantize: {word!r} is not allowed; give int8 or int4"), 2)
        return word
