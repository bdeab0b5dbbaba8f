"""The command line: `abruzzi serve | chat | bench`, and the commands of cli_tools.py and cli_keys.py. Maps words to
calls and errors to exit codes.

The flags of `serve` come from the table in server/settings.py. Each command imports what it needs when it runs, so
that `--help` is quick.

Exit codes: 0 done; 1 it could not start or a run failed; 2 a wrong flag, variable or setting.
"""

import importlib.metadata
import inspect
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import typer.core

from engine import ConfigError
from server.cli_keys import keys_commands
from server.cli_tools import add_tools
from server.settings import OPTIONS, Option, load_settings


def _without_types(parameters: list[Any]) -> list[Any]:
    """Help shows what stands for a value, where we say so, and nothing of Python's types."""
    for parameter in parameters:
        shown = parameter.metavar if isinstance(parameter, typer.core.TyperOption) else None
        parameter.display_type_rich = lambda ctx, shown=shown: shown
    return parameters


class _Command(typer.core.TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


class _Group(typer.core.TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


app = typer.Typer(
    cls=_Group,
    name="abruzzi",
    help="Serves Kimi-K2-class Mixture-of-Experts models behind the APIs that clients already speak.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
)

# Paragraphs are one line each: the help keeps line breaks.
SERVE_HELP = (
    "Serve a model over HTTP.\n\n"
    "[bold]abruzzi serve[/] serves a small demonstration model\n"
    "[bold]abruzzi serve /models/Kimi-K2-Instruct[/] serves a checkpoint folder\n"
    "[bold]abruzzi serve --config server.toml --port 9000[/] takes settings from a file\n\n"
    "Every option is also an environment variable (--max-running is ABRUZZI_MAX_RUNNING) and a key of the TOML file "
    "(max_running = 64). A flag wins over the environment, the environment over the file."
)
CHAT_HELP = (
    "Chat with a running server in the terminal.\n\n"
    "Lines from a pipe are sent one by one: printf 'Hello\\nAnd now?\\n' | abruzzi chat"
)
BENCH_HELP = (
    "Measure a running server: latency and throughput of streamed chat completions.\n\n"
    "Each level keeps N streams open until its requests are done. Prompts differ from their first word, so that the "
    "prefix cache does not help."
)

BaseUrl = Annotated[str, typer.Option("--base-url", metavar="URL", help="The server.")]
ApiKey = Annotated[
    str | None, typer.Option("--api-key", envvar="ABRUZZI_API_KEY", metavar="KEY", help="Key to send, if it wants one.")
]
ModelName = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="Model to ask for. Default: the first that it serves.")
]
Temperature = Annotated[
    float | None, typer.Option("--temperature", min=0, metavar="NUMBER", help="Default: the model's own.")
]
DEFAULT_URL = "http://127.0.0.1:8000"


def main() -> None:
    """Entry point of the `abruzzi` command."""
    app()


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        print(f"abruzzi {importlib.metadata.version('abruzzi')}")
        raise typer.Exit


def _fail(error: Exception, code: int) -> NoReturn:
    print(f"abruzzi: {error}", file=sys.stderr)
    raise typer.Exit(code)


def _serve(model_folder: str | None, config: Path | None, **flags: Any) -> None:
    try:
        if model_folder is not None:
            if flags["model"] not in (None, model_folder):
                raise ConfigError(f"two models are named: {model_folder} and --model {flags['model']}; give one")
            flags["model"] = model_folder
        settings = load_settings(flags, config=config)
    except ConfigError as error:
        _fail(error, 2)
    from server.serve import serve

    try:
        code = serve(settings)
    except ConfigError as error:
        _fail(error, 1)
    raise typer.Exit(code)


def _parameter(known: Option) -> inspect.Parameter:
    """The typer parameter for a setting. Values arrive as text; server/settings.py checks them."""
    names = f"{known.flag}/--no-{known.flag[2:]}" if known.is_switch else known.flag
    help_text = known.help + (f" [dim]Default: {known.default_text}.[/]" if known.default_text else "")
    value_type: Any = bool if known.is_switch else list[str] if known.many else str
    info = typer.Option(
        names,
        help=help_text,
        metavar=known.kind.metavar or None,
        show_default=False,
        rich_help_panel=known.group,
    )
    return inspect.Parameter(
        known.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[value_type | None, info]
    )


def _serve_signature() -> inspect.Signature:
    folder = typer.Argument(metavar="MODEL", help="Checkpoint folder; the same as --model.", show_default=False)
    config = typer.Option("--config", metavar="FILE.toml", help="Settings file.", show_default=False)
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Signature(
        [
            inspect.Parameter("model_folder", keyword, default=None, annotation=Annotated[str | None, folder]),
            *(_parameter(known) for known in OPTIONS),
            inspect.Parameter("config", keyword, default=None, annotation=Annotated[Path | None, config]),
        ]
    )


_serve.__signature__ = _serve_signature()  # type: ignore[attr-defined]
_serve.__annotations__ = {}
app.command("serve", cls=_Command, help=SERVE_HELP)(_serve)


@app.command("chat", cls=_Command, help=CHAT_HELP)
def _chat(
    base_url: BaseUrl = DEFAULT_URL,
    model: ModelName = None,
    system: Annotated[str | None, typer.Option("--system", metavar="TEXT", help="System message.")] = None,
    api_key: ApiKey = None,
    temperature: Temperature = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, metavar="INTEGER", help="Longest answer. Default: no limit.")
    ] = None,
) -> None:
    from server.commands.chat import run_chat

    raise typer.Exit(run_chat(_url(base_url), model, system, _first_key(api_key), temperature, max_tokens))


@app.command("bench", cls=_Command, help=BENCH_HELP)
def _bench(
    base_url: BaseUrl = DEFAULT_URL,
    model: ModelName = None,
    concurrency: Annotated[
        str, typer.Option("--concurrency", metavar="N,N,...", help="Streams at a time; one level after the other.")
    ] = "1,4,16,64",
    prompt_tokens: Annotated[
        int,
        typer.Option(
            "--prompt-tokens", min=1, metavar="INTEGER", help="Length of each prompt, about; the real one is reported."
        ),
    ] = 128,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=1, metavar="INTEGER", help="Length of each answer.")
    ] = 128,
    requests: Annotated[
        int | None,
        typer.Option(
            "--requests", min=1, metavar="INTEGER", help="Requests a level. Default: twice the concurrency, at least 4."
        ),
    ] = None,
    time_limit: Annotated[
        float, typer.Option("--time-limit", min=1, metavar="SECONDS", help="Most seconds a level may take.")
    ] = 300.0,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0, metavar="NUMBER", help="Sampling temperature.")
    ] = 0.0,
    ignore_eos: Annotated[
        bool, typer.Option("--ignore-eos/--stop-at-eos", help="Generate all the tokens, or let the model stop.")
    ] = True,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the results here as JSON.")
    ] = None,
    api_key: ApiKey = None,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Allow a server on another machine. Ask its owner first.")
    ] = False,
) -> None:
    from server.commands.bench import BenchPlan, run_bench

    try:
        levels = tuple(int(part) for part in concurrency.split(","))
        if min(levels) < 1:
            raise ValueError
    except ValueError:
        _fail(ConfigError(f"--concurrency: {concurrency!r} is not allowed; give whole numbers such as 1,4,16"), 2)
    plan = BenchPlan(
        base_url=_url(base_url),
        model=model,
        api_key=_first_key(api_key),
        levels=levels,
        prompt_tokens=prompt_tokens,
        max_tokens=max_tokens,
        requests=requests,
        time_limit=time_limit,
        temperature=temperature,
        ignore_eos=ignore_eos,
        allow_remote=allow_remote,
    )
    raise typer.Exit(run_bench(plan, json_file))


add_tools(app, _Command, _fail)
app.add_typer(keys_commands(_Group, _Command, _fail), name="keys")


def _url(text: str) -> str:
    """People write 127.0.0.1:8000."""
    return text if "://" in text else f"http://{text}"


def _first_key(keys: str | None) -> str | None:
    """The server's own variable may hold several keys; any of them opens the door."""
    return keys.split(",")[0].strip() if keys else None


if __name__ == "__main__":
    main()
