"""The files of docker/, read for tests."""

import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
DOCKER = ROOT / "docker"
KUBERNETES = DOCKER / "kubernetes"


def read(path: Path) -> Any:
    """The one document of a YAML file."""
    return yaml.safe_load(path.read_text("utf-8"))


def seconds(text: str) -> float:
    """45s -> 45."""
    assert text.endswith("s"), f"{text} is not in seconds"
    return float(text[:-1])


def tool(name: str) -> str | None:
    """The path of a program, from this environment first."""
    here = Path(sys.executable).with_name(name)
    return str(here) if here.is_file() else shutil.which(name)
