"""What the tests of clients share: a server, and the name of its model."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.client_server import serving

# Strings are bounded so that no answer in JSON can fill the whole context.
FLAGS = ["--max-json-string", "24", "--max-model-len", "16384", "--model-alias", "claude-*", "--model-alias", "gpt-*"]
# Clients that would call home. They are told not to before they are imported.
os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LANGSMITH_TRACING": "false"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.clients)


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server that the clients share."""
    with serving(tmp_path_factory.mktemp("clients"), *FLAGS) as address:
        yield address


@pytest.fixture(scope="session")
def name() -> str:
    """The name of the default model."""
    return "abruzzi-demo"
