"""Where the default model lies: the checkpoint that comes with this package. Knows no torch."""

from pathlib import Path

DEFAULT_NAME = "abruzzi-demo"
MARKER = "random_weights.json"  # present in every folder that demo.random_checkpoint writes


def default_checkpoint() -> Path:
    """The folder of the demonstration model."""
    return Path(__file__).resolve().with_name("checkpoint")


def has_random_weights(folder: Path) -> bool:
    """Whether `folder` was written by demo.random_checkpoint."""
    return (folder / MARKER).is_file()
