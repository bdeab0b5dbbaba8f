"""Fixtures for the tests of Google's protocol."""

from pathlib import Path

import pytest
from support.messages import thinking_model
from support.served import Served

from server.served_model import ServedModel


@pytest.fixture(scope="session")
def thinker_model(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    return thinking_model(tmp_path_factory.mktemp("models") / "thinker")


@pytest.fixture
def thinker(thinker_model: ServedModel) -> Served:
    """An application whose model thinks unless it is told not to."""
    return Served(thinker_model)


@pytest.fixture
def brooder(tmp_path: Path) -> Served:
    """An application whose model always thinks."""
    return Served(thinking_model(tmp_path / "brooder", always=True))
