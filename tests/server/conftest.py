"""Fixtures for the tests of the HTTP application."""

from collections.abc import Callable, Iterator

import pytest
from support.postgres import Postgres, postgres_server
from support.served import Served, load_model

from server.served_model import ServedModel


@pytest.fixture(scope="session")
def tiny_model() -> ServedModel:
    """The tiny Kimi tokenizer and template, under two names."""
    return load_model()


@pytest.fixture
def serve(tiny_model: ServedModel) -> Callable[..., Served]:
    """Makes an application with a fake engine; takes settings."""
    return lambda **settings: Served(tiny_model, **settings)


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    """An application with the default settings."""
    return serve()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server that all tests share."""
    with postgres_server() as server:
        yield server
