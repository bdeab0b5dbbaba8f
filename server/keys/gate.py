"""Where a request of a key begins to count: limits are looked at before anything is computed, and what it uses is
charged to its key as it is known."""

import math
from dataclasses import dataclass

from prometheus_client import Counter

from server.errors import RateLimited
from server.keys.keyring import Visitor, visitor


def may_use(model: str) -> bool:
    """Whether whoever asks may use a model of this name."""
    who = visitor()
    return who is None or who.key.models is None or model in who.key.models


@dataclass(frozen=True, slots=True)
class Counters:
    """What each key has used, for the metrics. Keys of flags are called key-1, key-2, …"""

    requests: Counter
    tokens: Counter
    limited: Counter


class Passage:
    """One request of a visitor, from its admission to its end; of nobody where no keys are needed. Leaving twice counts
    once."""

    def __init__(self, who: Visitor | None, counters: Counters) -> None:
        self._who = who
        self._counters = counters
        self._inside = True

    @classmethod
    def begin(cls, counters: Counters) -> "Passage":
        """Raises RateLimited."""
        who = visitor()
        if who is None:
            return cls(None, counters)
        refusal = who.usage.refusal()
        if refusal is not None:
            why, seconds = refusal
            counters.limited.labels(who.key.name).inc()
            raise RateLimited(
                f"The key {who.key.name!r} is over its limit: {why}.",
                retry_after=max(1, math.ceil(seconds)),
            )
        who.usage.begin()
        counters.requests.labels(who.key.name).inc()
        return cls(who, counters)

    @property
    def owner(self) -> str:
        return "" if self._who is None else self._who.key.owner

    @property
    def priority(self) -> int:
        """To be added to the request's."""
        return 0 if self._who is None else self._who.key.priority

    def spend(self, kind: str, tokens: int) -> None:
        """`kind` is prompt or completion."""
        if self._who is not None:
            self._who.usage.spend(tokens)
            self._counters.tokens.labels(self._who.key.name, kind).inc(tokens)

    def leave(self) -> None:
        if self._who is not None and self._inside:
            self._who.usage.end()
        self._inside = False
