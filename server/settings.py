"""Settings of the server: one table, from which come the flags, the ABRUZZI_… variables, the keys of the TOML file
and their checks. This is the only reader of the environment and of the TOML file.

A flag wins over the environment, the environment over the file, the file over the default. Everything is checked
once, here, and frozen; each part of the program is handed what it needs (`engine_config`).
"""

import dataclasses
import difflib
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import ConfigError, EngineConfig
from server.option_kinds import ALIAS, KEY, PATH, SIZE, STORE, SWITCH, TEXT, Kind, one_of, seconds, whole_number

ENVIRONMENT_PREFIX = "ABRUZZI_"
MODEL, HTTP, LIMITS, STORAGE, ENGINE, PROCESS = "Model", "HTTP", "Limits", "Storage", "Engine", "Process"


def option(default: Any, kind: Kind, group: str, help: str, *, many: bool = False, secret: bool = False) -> Any:
    """A dataclass field that is a setting. `many`: a tuple of values; `secret`: never shown."""
    metadata = {"kind": kind, "group": group, "help": help, "many": many, "secret": secret}
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Every field is a flag of `abruzzi serve`, a variable ABRUZZI_<FIELD> and a key of the TOML file.

    Sizes in bytes, lengths in tokens. None means: decide from the checkpoint and the machine.
    `api_key` also holds the keys of `api_key_file` when made by `load_settings`.
    """

    model: str | None = option(
        None,
        TEXT,
        MODEL,
        "Checkpoint folder as published on Hugging Face, or its name there (owner/name, owner/name@revision), which "
        "is downloaded. Without one, the demonstration model is served.",
    )
    served_model_name: tuple[str, ...] = option(
        (),
        TEXT,
        MODEL,
        "Name that clients use for the model; repeat for several. Default: the folder's name.",
        many=True,
    )
    model_alias: tuple[str, ...] = option(
        (),
        ALIAS,
        MODEL,
        "Further name that requests may use, for clients that insist on one; * stands for any characters: claude-*. "
        "Repeat for several. Not listed.",
        many=True,
    )
    dialect: str = option(
        "auto",
        TEXT,
        MODEL,
        "Model family whose prompts and tool calls to speak; a wrong name is answered with the list. auto: the "
        "checkpoint's own.",
    )
    dtype: str = option("auto", one_of("auto", "bfloat16", "float32"), MODEL, "Number format of weights and KV cache.")
    quantize: str | None = option(
        None,
        one_of("int8", "int4"),
        MODEL,
        "Store matrices in 8 or 4 bits, whatever the checkpoint has them in; `abruzzi check-quantization` tells what "
        "it costs.",
    )
    device: str = option("auto", one_of("auto", "cpu", "cuda"), MODEL, "Where the model runs.")
    kernels: str = option(
        "auto",
        one_of("auto", "native", "triton", "torch"),
        MODEL,
        "What computes. auto: the fastest that this machine can use.",
    )
    kv_cache_dtype: str = option(
        "auto",
        one_of("auto", "fp8"),
        MODEL,
        "How the KV cache is kept. auto: as the model computes; fp8: in half the memory, at a cost that `abruzzi "
        "check-quantization` tells.",
    )
    attention_backend: str = option(
        "auto",
        one_of("auto", "flashinfer"),
        MODEL,
        "What computes decode attention on a GPU. auto: the kernels' own; flashinfer: that library, which must be "
        "installed; steps are not recorded then.",
    )
    record_steps: str = option(
        "auto",
        one_of("auto", "on", "off"),
        MODEL,
        "Record decode steps and replay them, so that the Python around a step costs little. auto: with the native and "
        "the Triton kernels.",
    )
    max_model_len: int | None = option(
        None, whole_number(1), MODEL, "Longest prompt plus answer, in tokens. Default: what the checkpoint allows."
    )
    seed: int | None = option(
        None,
        whole_number(0, 2**63 - 1),
        MODEL,
        "Makes answers to requests without a seed of their own repeatable from start to start.",
    )

    host: str = option("127.0.0.1", TEXT, HTTP, "Address to listen on; 0.0.0.0 for every interface.")
    port: int = option(8000, whole_number(0, 65535), HTTP, "Port to listen on; 0 picks a free one.")
    api_key: tuple[str, ...] = option(
        (), KEY, HTTP, "Key that clients must send as a bearer token; repeat for several.", many=True, secret=True
    )
    api_key_file: Path | None = option(
        None, PATH, HTTP, "File with one API key a line; lines that start with # are comments."
    )
    key_file: Path | None = option(
        None,
        PATH,
        HTTP,
        "TOML or JSON file of keys with limits (see `abruzzi keys`); read again at SIGHUP.",
    )
    keep_alive_seconds: float = option(
        15.0, seconds(0.1), HTTP, "Silence in a stream after which a comment is sent, so that proxies keep it open."
    )

    max_queue: int = option(
        256, whole_number(0), LIMITS, "Requests that may wait besides those running; more are answered 429."
    )
    max_body_bytes: int = option(8 * 2**20, SIZE, LIMITS, "Largest request body.")
    max_messages: int = option(2048, whole_number(1), LIMITS, "Most messages in one conversation.")
    max_n: int = option(16, whole_number(1), LIMITS, "Most answers to one request (its n).")
    max_json_string: int | None = option(
        None,
        whole_number(1, 4096),
        LIMITS,
        "Longest string in constrained JSON, in characters, where the schema sets no limit. Default: none.",
    )

    store: str | None = option(
        None,
        STORE,
        STORAGE,
        "Where responses, conversations, files and batches are kept; none: nowhere. Default: an SQLite file in "
        "~/.local/state/abruzzi.",
        secret=True,
    )
    store_days: int = option(30, whole_number(1, 3650), STORAGE, "Days that a stored object lives.")
    store_max_objects: int = option(100_000, whole_number(1), STORAGE, "Most stored objects; the oldest go first.")
    store_max_bytes: int = option(4 * 2**30, SIZE, STORAGE, "Most bytes of stored objects; the oldest go first.")
    files_folder: Path | None = option(
        None, PATH, STORAGE, "Folder for the contents of files, of one store only. Default: beside the SQLite file."
    )
    max_file_bytes: int = option(100 * 2**20, SIZE, STORAGE, "Largest file that can be uploaded.")
    files_max_bytes: int = option(10 * 2**30, SIZE, STORAGE, "Most bytes of all uploaded files together.")
    batch_running: int = option(
        8, whole_number(1), STORAGE, "Most requests of batches that run at the same time, if others leave room."
    )

    kv_cache_memory: int | None = option(
        None, SIZE, ENGINE, "Memory for the KV cache. Default: what the memory plan finds reasonable."
    )
    max_batch_tokens: int = option(2048, whole_number(1), ENGINE, "Most tokens computed in one step.")
    max_running: int = option(64, whole_number(1), ENGINE, "Most requests that generate at the same time.")
    block_size: int = option(16, whole_number(1, 1024), ENGINE, "Tokens in one block of the KV cache.")
    prefix_caching: bool = option(True, SWITCH, ENGINE, "Reuse the KV blocks of prompts that start alike.")
    threads: int | None = option(
        None,
        whole_number(1, 1024),
        ENGINE,
        "CPU threads of the engine. Default: one a core; plain torch takes 1 for a model of up to 256 MiB.",
    )

    constrained_decoding: bool = option(
        True, SWITCH, ENGINE, "Hold tool calls and structured output to their schemas. Off is for measurements only."
    )

    stall_seconds: float = option(
        60.0, seconds(1), PROCESS, "Time without progress after which the engine counts as stalled."
    )
    drain_seconds: float = option(
        30.0, seconds(0), PROCESS, "Time that running requests get to finish after SIGTERM or Ctrl-C."
    )
    log_level: str = option(
        "info",
        one_of("debug", "info", "warning", "error"),
        PROCESS,
        "How much to log; debug includes a line for each HTTP request.",
    )

    def engine_config(self, model_path: Path) -> EngineConfig:
        """The engine's share of the settings."""
        own = {field.name for field in dataclasses.fields(self)}
        shared = {name: getattr(self, name) for name in EngineConfig.__struct_fields__ if name in own}
        return EngineConfig(model_path=str(model_path), **shared)

    def describe(self) -> dict[str, str]:
        """Each setting as text for a log. Secrets are counted, not shown."""
        lines = {}
        for known in OPTIONS:
            value = getattr(self, known.name)
            lines[known.name] = _hidden(value) if known.secret and value is not None else str(value)
        return lines


@dataclass(frozen=True, slots=True)
class Option:
    """One setting under all its names."""

    name: str
    default: Any
    kind: Kind
    group: str
    help: str
    many: bool
    secret: bool

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return ENVIRONMENT_PREFIX + self.name.upper()

    @property
    def is_switch(self) -> bool:
        return self.kind is SWITCH

    @property
    def default_text(self) -> str:
        """The default for a person; empty where the help text tells it or there is none."""
        if self.default is None or self.default == ():
            return ""
        if self.kind is SIZE:
            return f"{self.default // 2**30}GiB" if self.default % 2**30 == 0 else f"{self.default // 2**20}MiB"
        if self.is_switch:
            return "on" if self.default else "off"
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)

    def parse(self, raw: object, source: str) -> Any:
        """The value for `raw`, which came from `source`. Raises ConfigError."""
        if not self.many:
            return self._parse_one(raw, source)
        items = raw if isinstance(raw, list | tuple) else [raw]
        if not items:
            what = "holds no key; the server would be open to everyone" if self.secret else "holds no value"
            raise ConfigError(f"{source} {what}")
        return tuple(self._parse_one(item, source) for item in items)

    def _parse_one(self, raw: object, source: str) -> Any:
        try:
            return self.kind.parse(raw)
        except (ValueError, OverflowError):
            shown = "the value" if self.secret else repr(raw)
            raise ConfigError(f"{source}: {shown} is not allowed; give {self.kind.allowed}") from None


OPTIONS: tuple[Option, ...] = tuple(
    Option(name=field.name, default=field.default, **field.metadata) for field in dataclasses.fields(Settings)
)


def load_settings(
    flags: Mapping[str, object], environment: Mapping[str, str] | None = None, config: Path | None = None
) -> Settings:
    """Settings from all sources.

    `flags` holds raw values by field name; None or an empty list means: not given. `environment` is the process's own
    unless given; an empty variable counts as not set. `config` is the TOML file; without it the one that
    ABRUZZI_CONFIG names, if any. Raises ConfigError.
    """
    if environment is None:
        environment = os.environ
    if config is None and environment.get(ENVIRONMENT_PREFIX + "CONFIG"):
        config = Path(environment[ENVIRONMENT_PREFIX + "CONFIG"])
    from_file = _read_toml(config) if config is not None else {}
    values = {}
    for known in OPTIONS:
        given = flags.get(known.name)
        if given is not None and given != [] and given != ():
            values[known.name] = known.parse(given, known.flag)
        elif environment.get(known.variable):
            text = environment[known.variable]
            values[known.name] = known.parse(_split(text) if known.many else text, known.variable)
        elif known.name in from_file:
            values[known.name] = known.parse(from_file[known.name], f"{known.name} in {config}")
    if key_file := values.get("api_key_file"):
        values["api_key"] = (*values.get("api_key", ()), *_read_keys(key_file))
    return Settings(**values)


def unknown_variables(environment: Mapping[str, str] | None = None) -> list[str]:
    """ABRUZZI_… variables that name no setting. They are worth a warning, not an error: Kubernetes sets
    ABRUZZI_SERVICE_HOST and its like for a service of that name."""
    if environment is None:
        environment = os.environ
    known = {known.variable for known in OPTIONS} | {ENVIRONMENT_PREFIX + "CONFIG"}
    return sorted(name for name in environment if name.startswith(ENVIRONMENT_PREFIX) and name not in known)


def _hidden(value: Any) -> str:
    return f"{len(value)} hidden" if isinstance(value, tuple) else "hidden"


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.expanduser().read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read the settings file {path}: {_reason(error)}") from None
    names = [known.name for known in OPTIONS]
    for key in content:
        if key not in names:
            raise ConfigError(f"{path}: there is no setting {key!r}{_suggestion(key, names)}")
    return content


def _reason(error: Exception) -> str:
    """Without the path, which OSError repeats."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _suggestion(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word.replace("-", "_").lower(), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else "; `abruzzi serve --help` lists them"


def _read_keys(path: Path) -> tuple[str, ...]:
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the API keys in {path}: {_reason(error)}") from None
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise ConfigError(f"the API key file {path} holds no key; the server would be open to everyone")
    known = next(known for known in OPTIONS if known.name == "api_key")
    return tuple(known.parse(key, str(path))[0] for key in keys)


def markdown_table() -> str:
    """All settings as a Markdown table, for the README."""
    rows = ["| Flag | Default | What it does |", "|---|---|---|"]
    for known in OPTIONS:
        flag = f"{known.flag} / --no-{known.flag[2:]}" if known.is_switch else f"{known.flag} {known.kind.metavar}"
        flag = flag.replace("|", "\\|")
        rows.append(f"| `{flag}` | {known.default_text} | {known.help} |")
    return "\n".join(rows)
