"""Finds the default checkpoint in the user's cache folder, or makes it there.

It is made by another process (demo/random_checkpoint.py), because that needs torch and the caller must not
import torch. The folder's name holds a fingerprint of the recipe: a changed recipe makes a new folder.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

DEFAULT_PRESET = "tiny"
DEFAULT_NAME = "random-k2-tiny"
MARKER = "random_weights.json"  # present in every folder that demo.random_checkpoint writes


# What the child runs: its first argument is the folder of our packages.
_START = (
    "import runpy, sys; root = sys.argv.pop(1); root in sys.path or sys.path.insert(0, root); "
    "runpy.run_module('demo.random_checkpoint', run_name='__main__', alter_sys=True)"
)


class CheckpointNotMade(RuntimeError):
    """The default checkpoint could not be made; the text says why."""


def default_checkpoint(
    cache: Path | None = None, making: Callable[[], AbstractContextManager[object]] = nullcontext
) -> Path:
    """The folder of the default checkpoint, made if need be (a few seconds, once). `making` surrounds the making.

    Two processes may do this at once: each writes a folder of its own and the first to rename it wins.
    Raises CheckpointNotMade.
    """
    cache = cache or cache_folder()
    folder = cache / f"{DEFAULT_NAME}-{recipe_fingerprint()}"
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".making-", dir=cache))
    except OSError as error:
        raise CheckpointNotMade(
            f"cannot write to {cache}: {error.strerror}; XDG_CACHE_HOME names another place"
        ) from None
    try:
        with making():
            _make(work / "checkpoint")
        _rename(work / "checkpoint", folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def has_random_weights(folder: Path) -> bool:
    """Whether `folder` was written by demo.random_checkpoint."""
    return (folder / MARKER).is_file()


def cache_folder() -> Path:
    """abruzzi's folder under XDG_CACHE_HOME, which is ~/.cache unless set."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "abruzzi"


def recipe_fingerprint() -> str:
    """Changes with this package's files and with Python's minor version, whose texts the tokenizer learns from."""
    digest = hashlib.sha256(repr(sys.version_info[:2]).encode())
    here = Path(__file__).parent
    for path in sorted([*here.glob("*.py"), *here.glob("*.jinja")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _make(folder: Path) -> None:
    # -P: nothing is imported from the current folder. The parent of this package is in the child's path, so that
    # both read the same recipe.
    root = str(Path(__file__).resolve().parent.parent)
    arguments = [root, "--preset", DEFAULT_PRESET, str(folder)]
    done = subprocess.run([sys.executable, "-P", "-c", _START, *arguments], capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise CheckpointNotMade(f"cannot make the default model: {lines[-1]}")


def _rename(made: Path, folder: Path) -> None:
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process was first, with the same content
            raise
