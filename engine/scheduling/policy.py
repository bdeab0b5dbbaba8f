"""Who goes first. Owns the order of waiting requests; knows no blocks and no budget."""

import heapq
from collections.abc import Iterable

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
    """Waiting requests in order of their keys. Removal is lazy: a removed request leaves the heap when it surfaces.

    A request can be parked until something happens (`wake`): it waits, but `pop` does not see it.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[float, str], Request]] = []
        self._members: dict[str, Request] = {}
        self._parked: dict[bytes, dict[str, Request]] = {}  # what they wait for -> requests by id
        self._parked_for: dict[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._members) + len(self._parked_for)

    @property
    def has_eligible(self) -> bool:
        """Whether `pop` would find a request."""
        return bool(self._members)

    def park(self, request: Request, event: bytes) -> None:
        """The request, just popped, waits for `event`."""
        self._parked.setdefault(event, {})[request.id] = request
        self._parked_for[request.id] = event

    def wake(self, events: Iterable[bytes]) -> None:
        """These events happened: whoever waited for them is back in its place in the order."""
        if not self._parked_for:
            return
        for event in events:
            for request in self._parked.pop(event, {}).values():
                del self._parked_for[request.id]
                self.push(request)

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
        """Takes out a request, if it waits here."""
        event = self._parked_for.pop(request_id, None)
        if event is not None:
            parked = self._parked[event]
            request = parked.pop(request_id)
            if not parked:
                del self._parked[event]
            return request
        member = self._members.pop(request_id, None)
        if len(self._heap) > 2 * len(self._members) + 64:  # what was removed must not pile up
            self._heap = [(request.key, request) for request in self._members.values()]
            heapq.heapify(self._heap)
        return member
