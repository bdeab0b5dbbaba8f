"""Who goes first. Owns the order of waiting requests; knows no blocks and no budget."""

import heapq
from collections.abc import Iterator

from engine.messages import GenerateRequest
from engine.scheduling.request import Request

# One step of priority is worth this many seconds of waiting.
AGEING_SECONDS = 10.0


def order_key(request: GenerateRequest) -> tuple[float, str]:
    """Sort key; smaller goes first. Lower `priority` goes ahead, but only of what came up to AGEING_SECONDS a step of
    priority earlier: all that wait age alike, so this fixed key is the order under ageing at any time, and no request
    can be overtaken for ever."""
    return (request.arrival + AGEING_SECONDS * request.priority, request.id)


class WaitingQueue:
    """Waiting requests in order of their keys. Removal is lazy: a removed request leaves the heap when it surfaces."""

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[float, str], Request]] = []
        self._members: dict[str, Request] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._members.values())

    def push(self, request: Request) -> None:
        self._members[request.id] = request
        heapq.heappush(self._heap, (request.key, request))

    def pop(self) -> Request | None:
        """Takes out the first, or None if nobody waits."""
        while self._heap:
            _, request = heapq.heappop(self._heap)
            if self._members.get(request.id) is request:
                del self._members[request.id]
                return request
        return None

    def remove(self, request_id: str) -> Request | None:
        return self._members.pop(request_id, None)
