"""An application that stores, and OpenAI's SDK against it."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import openai
import pytest
from support.served import Served
from support.stores import running, sdk


@pytest.fixture
async def keeping(serve: Callable[..., Served], tmp_path: Path) -> AsyncIterator[Served]:
    """An application with a store, while its services run."""
    async with running(serve(store=f"sqlite:///{tmp_path}/store.db")) as served:
        yield served


@pytest.fixture
async def client(keeping: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with sdk(keeping) as client:
        yield client
