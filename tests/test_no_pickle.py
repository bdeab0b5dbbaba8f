"""What serves never reads pickles: a checkpoint must not be able to run code."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PICKLES = re.compile(
    r"torch\.load\b|^\s*(import|from) (pickle|dill|joblib|shelve|marshal)\b|\btrust_remote_code\s*=", re.M
)


@pytest.mark.parametrize("package", ["engine", "server"])
def test_nothing_that_serves_reads_pickles(package: str) -> None:
    found = [path for path in (ROOT / package).rglob("*.py") if PICKLES.search(path.read_text("utf-8"))]
    assert not found
    assert PICKLES.search((ROOT / "demo/training/trainer.py").read_text("utf-8")), "the pattern finds what it should"
