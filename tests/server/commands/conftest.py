"""The fake OpenAI-compatible server, in a thread of the test process."""

import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from support.fake_openai import FakeServer

from server.shutdown import HttpServer


@pytest.fixture
def fake_server() -> Iterator[FakeServer]:
    fake = FakeServer()
    http = HttpServer(uvicorn.Config(fake.application(), port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=http.run)
    thread.start()
    deadline = time.monotonic() + 10
    while not http.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    fake.url = f"http://127.0.0.1:{http.servers[0].sockets[0].getsockname()[1]}"
    yield fake
    http.should_exit = http.force_exit = True
    thread.join(10)
