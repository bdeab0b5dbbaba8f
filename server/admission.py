"""The bounds on bodies being read and on sequences that run or wait. Only counts: the engine schedules."""

import contextlib
from collections import Counter
from collections.abc import Iterator

from server.errors import InvalidRequest, QueueFull

RETRY_AFTER = 2  # seconds; clients back off further by themselves
FREE_BYTES = 64 * 1024  # of each body, not counted: small requests always get through
RESERVE = 4  # one in so many places is kept for owners with less than an equal share
LATENESS = 0.25  # seconds for each sequence that its owner has waiting
LARGE_BODIES = 32  # bodies of the largest size that may be held at a time before their requests are admitted


class Admission:
    """Counts sequences from the moment their request is accepted to their end, by owner.

    No owner can keep the others out: the last quarter of the room is for those who have less than an equal share. Nor
    can one make the others wait behind all that it has queued: what it asks for beyond what runs at a time counts as if
    it had arrived later (`Slot.lateness`), a little for each that it has waiting.
    """

    def __init__(self, max_running: int, max_queue: int) -> None:
        self.limit = max_running + max_queue
        self.sequences = 0
        self._max_running = max_running
        self._held: Counter[str] = Counter()

    def enter(self, sequences: int, owner: str = "") -> "Slot":
        """Room for `sequences`, until the slot is left. Raises QueueFull, or InvalidRequest if there never is."""
        most = self.limit - self.limit // RESERVE if owner else self.limit
        if sequences > most:
            raise InvalidRequest(f"n is {sequences}; this server has room for {most} answers.", param="n")
        held = self._held[owner]
        if self.sequences + sequences > self.limit:
            raise QueueFull(
                f"{self.sequences} answers are running or waiting and this request asks for {sequences}; "
                f"{self.limit} are allowed. Try again later.",
                retry_after=RETRY_AFTER,
            )
        if owner and self._takes_others_share(sequences, held):
            raise QueueFull(
                f"This key has {held} answers running or waiting and asks for {sequences} more; the room that is left "
                "is for other keys. Try again later.",
                retry_after=RETRY_AFTER,
            )
        self.sequences += sequences
        self._held[owner] += sequences
        return Slot(self, owner, sequences, LATENESS * max(0, held - self._max_running))

    def _takes_others_share(self, sequences: int, held: int) -> bool:
        if self.sequences + sequences <= self.limit - self.limit // RESERVE:
            return False
        owners = len(self._held) + (held == 0)  # one more than there are at least: whoever comes next
        return held + sequences > self.limit // max(2, owners)

    def leave(self, owner: str, sequences: int) -> None:
        """Called by slots."""
        self.sequences -= sequences
        self._held[owner] -= sequences
        if not self._held[owner]:
            del self._held[owner]


class Slot:
    """A place for the sequences of one request. Leaving twice counts once. `lateness` in seconds."""

    def __init__(self, admission: Admission, owner: str, sequences: int, lateness: float) -> None:
        self.lateness = lateness
        self._admission = admission
        self._owner = owner
        self._sequences = sequences

    def leave(self) -> None:
        if self._sequences:
            self._admission.leave(self._owner, self._sequences)
        self._sequences = 0


class BodyRoom:
    """Bounds the bytes of bodies from their arrival to admission; without it, as many as there are connections."""

    def __init__(self, max_body_bytes: int) -> None:
        self.free = LARGE_BODIES * max_body_bytes

    @contextlib.contextmanager
    def share(self) -> Iterator["BodyShare"]:
        """One request's part of the room; given back at the end."""
        share = BodyShare(self)
        try:
            yield share
        finally:
            self.free += share.taken


class BodyShare:
    """The room that one body takes. `taken`: its bytes beyond the first FREE_BYTES."""

    def __init__(self, room: BodyRoom) -> None:
        self.taken = 0
        self._room = room
        self._size = 0

    def grow(self, size: int) -> None:
        """The body has `size` more bytes. Raises QueueFull if there is no room for them."""
        self._size += size
        more = max(0, self._size - FREE_BYTES) - self.taken
        if more > self._room.free:
            raise QueueFull(
                "Too many large requests are being read. Try again later.",
                retry_after=RETRY_AFTER,
                headers={"Connection": "close"},  # the rest of this body is not read
            )
        self._room.free -= more
        self.taken += more
