"""Models named as on Hugging Face's hub: owner/name, or owner/name@revision. Downloads what serving needs of one, into
huggingface_hub's cache (HF_HOME), resuming what an earlier try left; offline, or with all files there, it only looks.

HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE and HF_HOME mean what they mean to every program of Hugging Face. The library is
imported only when a model is named in this way.
"""

import errno
import logging
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from engine import ConfigError

NAME = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
# All that serving reads, none of it in folders. Weights in other formats (pickle, gguf) and code are never fetched.
NEEDED = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "tiktoken.model", "LICENSE*", "NOTICE*"]
LOG_SECONDS = 30.0
log = logging.getLogger("abruzzi.hub")


def is_hub_name(model: str) -> bool:
    """Whether `model` may be one of the hub's: two words with a slash, and no folder or file of that name."""
    return NAME.fullmatch(model) is not None and not os.path.lexists(Path(model).expanduser())


def download(model: str) -> Path:
    """The folder of a model of that name. Raises ConfigError: no such model or revision, no right to it, no hub to be
    reached and not all of it here, no room on the disk."""
    found = NAME.fullmatch(model)
    assert found is not None
    from huggingface_hub import constants, snapshot_download

    repository, revision = found["repository"], found["revision"]
    log.info("model %s: looking for it at %s and in %s", model, constants.ENDPOINT, constants.HF_HUB_CACHE)
    progress = None if sys.stderr.isatty() else _logged_progress()
    try:
        found_at = snapshot_download(
            repository, revision=revision, allow_patterns=NEEDED, ignore_patterns="*/*", tqdm_class=progress
        )
    except Exception as error:
        raise ConfigError(_explained(model, error)) from error
    folder = Path(found_at)
    if not any(folder.glob("*.safetensors")):
        raise ConfigError(f"{model} has no safetensors files: weights in other formats are not read")
    return folder


def _explained(model: str, error: Exception) -> str:
    """What went wrong, and the way out."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.GatedRepoError):
        return f"{model} asks its users to agree to its terms: do so at {constants.ENDPOINT}, then set HF_TOKEN"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{model}: there is no such revision at {constants.ENDPOINT}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{model} is no folder here and no model at {constants.ENDPOINT} that this user can see: check the name, "
            "or set HF_TOKEN for one that is private"
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{model}: the disk of {constants.HF_HUB_CACHE} is full; set HF_HOME to a folder with more room"
    if isinstance(error, PermissionError):
        return f"{model}: cannot write to {error.filename or constants.HF_HUB_CACHE}; set HF_HOME to another folder"
    if isinstance(error, errors.LocalEntryNotFoundError | errors.IncompleteSnapshotError) and constants.HF_HUB_OFFLINE:
        return f"{model} is not complete in {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE forbids to download it"
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return (
        f"{model} could not be downloaded from {constants.ENDPOINT} ({reason}); what has arrived is kept and the next "
        "start goes on from there. Without a way to the hub, name a checkpoint folder"
    )


def _logged_progress() -> type[Any]:
    """A progress bar for logs: a line now and then."""
    from tqdm.auto import tqdm

    class LoggedProgress(tqdm):  # type: ignore[misc]
        _next = 0.0

        def display(self, *_: Any, **__: Any) -> None:
            now = time.monotonic()
            if self.unit != "B" or not self.total or now < self._next:
                return
            type(self)._next = now + LOG_SECONDS
            rate = self.format_dict["rate"] or 0.0
            left = f", {(self.total - self.n) / rate:,.0f} s left" if rate else ""
            log.info("downloading: %.2f of %.2f GB at %.0f MB/s%s", self.n / 1e9, self.total / 1e9, rate / 1e6, left)

    return LoggedProgress
