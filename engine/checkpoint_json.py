"""Reads the small JSON files of a checkpoint folder, with errors that an operator can act on."""

import json
from pathlib import Path
from typing import Any

from engine.errors import ConfigError


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises ConfigError if the file is unreadable or holds anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path} should hold a JSON object, but holds a {type(value).__name__}")
    return value


def read_optional_json_object(path: Path) -> dict[str, Any]:
    """Like `read_json_object`; an absent file reads as an empty object."""
    return read_json_object(path) if is_present(path) else {}


def is_present(path: Path) -> bool:
    """Whether a checkpoint has this file, be it only as a link that leads nowhere: reading it then says so, where an
    optional file would else be missed in silence. Raises ConfigError if its folder cannot be searched."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    return True
