"""Applications that store, OpenAI's SDK against them without a network, and PostgreSQL servers of our own."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
from support.served import Served


def sdk(served: Served, key: str = "none", **options: Any) -> openai.AsyncOpenAI:
    """OpenAI's SDK, speaking to the application in this process."""
    client = httpx2.AsyncClient(transport=httpx2.ASGITransport(served.app), base_url="http://abruzzi/v1")
    return openai.AsyncOpenAI(base_url="http://abruzzi/v1", api_key=key, max_retries=0, http_client=client, **options)


@contextlib.asynccontextmanager
async def running(served: Served) -> AsyncIterator[Served]:
    """While its services run. The store is closed at the end."""
    try:
        async with served.app.state.background.running():
            yield served
    finally:
        await served.app.state.store.close()
