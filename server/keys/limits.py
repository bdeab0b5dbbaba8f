"""What a key has used of what it may: requests and tokens a minute as buckets that fill steadily, requests at a time.

Knows no HTTP. Times are seconds of a steady clock, which tests replace.
"""

import time
from collections.abc import Callable

MINUTE = 60.0


class Bucket:
    """Holds up to `size` units and gains as many a minute. It may be overdrawn, as by an answer whose length nobody
    knew: then nothing more is to be had until it has recovered."""

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.size = size
        self._clock = clock
        self._level = float(size)
        self._at = clock()

    @property
    def level(self) -> float:
        now = self._clock()
        self._level = min(self.size, self._level + (now - self._at) * self.size / MINUTE)
        self._at = now
        return self._level

    def take(self, units: float) -> None:
        self._level = self.level - units

    def seconds_until(self, units: float) -> float:
        """How long until it holds so much; more than its size counts as its size."""
        return max(0.0, (min(units, self.size) - self.level) * MINUTE / self.size)


class Usage:
    """One key's. What is running goes on when its limits change, and so does a bucket whose size stays."""

    def __init__(
        self,
        requests: int | None,
        tokens: int | None,
        concurrent: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self.requests: Bucket | None = None
        self.tokens: Bucket | None = None
        self.running = 0
        self.limit(requests, tokens, concurrent)

    def limit(self, requests: int | None, tokens: int | None, concurrent: int | None) -> None:
        """From now on; a bucket of another size begins full."""
        self.requests = self._bucket(self.requests, requests)
        self.tokens = self._bucket(self.tokens, tokens)
        self.concurrent = concurrent

    def _bucket(self, old: Bucket | None, size: int | None) -> Bucket | None:
        if old is not None and old.size == size:
            return old
        return None if size is None else Bucket(size, self._clock)

    def refusal(self) -> tuple[str, float] | None:
        """Why one more request is too many and after how many seconds it is worth another try; None: it is not."""
        if self.concurrent is not None and self.running >= self.concurrent:
            return f"it has {self.running} requests running, and {self.concurrent} are allowed at a time", 1.0
        if self.requests is not None and (seconds := self.requests.seconds_until(1)) > 0:
            return f"it may make {self.requests.size} requests a minute", seconds
        if self.tokens is not None and (seconds := self.tokens.seconds_until(1)) > 0:
            return f"it may use {self.tokens.size} tokens a minute", seconds
        return None

    def begin(self) -> None:
        self.running += 1
        if self.requests is not None:
            self.requests.take(1)

    def end(self) -> None:
        self.running -= 1

    def spend(self, tokens: int) -> None:
        if self.tokens is not None:
            self.tokens.take(tokens)

    def headers(self) -> dict[str, str]:
        """OpenAI's x-ratelimit-… headers for the limits that there are."""
        found = {}
        for what, bucket in (("requests", self.requests), ("tokens", self.tokens)):
            if bucket is not None:
                found[f"x-ratelimit-limit-{what}"] = str(bucket.size)
                found[f"x-ratelimit-remaining-{what}"] = str(max(0, int(bucket.level)))
                found[f"x-ratelimit-reset-{what}"] = f"{bucket.seconds_until(bucket.size):.3f}s"
        return found
