"""How the server ends: SIGTERM or Ctrl-C lets running requests finish, a second one does not.

uvicorn's own handling is replaced because it closes the listening socket at the first signal; here newcomers are
still answered (503 with Retry-After, by the application) until the last stream has ended.
"""

import asyncio
import contextlib
import signal
from collections.abc import Iterator

import uvicorn

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """`asked` is set by the first signal, `at_once` by the second. To be made inside the running loop."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.at_once = asyncio.Event()
        self.exit_code = 0  # after a second signal: 128 + its number, as shells have it

    def install(self) -> None:
        """From now on the signals are handled here."""
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._receive, number)

    def _receive(self, number: int) -> None:
        if self.asked.is_set():
            self.exit_code = 128 + number
            self.at_once.set()
        self.asked.set()


class HttpServer(uvicorn.Server):
    """uvicorn, without signal handlers of its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    @property
    def open_requests(self) -> int:
        """Requests whose answer is not complete."""
        return len(self.server_state.tasks)

    async def wait_idle(self, seconds: float, at_once: asyncio.Event) -> bool:
        """Waits until no request is open; at most `seconds`, and not beyond `at_once`. Returns whether none is."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self.open_requests and loop.time() < deadline and not at_once.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(at_once.wait(), 0.05)
        return not self.open_requests
