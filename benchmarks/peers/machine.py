"""Whether the machine was ours alone: the processor time that others took. Linux only."""

import os
import resource
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def wait_until_quiet(most: float) -> None:
    """Returns when the machine was idle for a second and a half, after `most` seconds at the latest."""
    end, calm = time.monotonic() + most, 0
    while calm < 2 and time.monotonic() < end:
        all_before, busy_before = _processor()
        time.sleep(0.75)
        all_after, busy_after = _processor()
        calm = calm + 1 if busy_after - busy_before < 0.08 * (all_after - all_before) else 0


class Foreign:
    """The share of the machine that neither a server's session nor this process used since the beginning."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._began = self._times()

    def share(self) -> float:
        every, busy, ours = (after - before for after, before in zip(self._times(), self._began, strict=True))
        return max(0.0, busy - ours) / every

    def _times(self) -> tuple[float, float, float]:
        own = resource.getrusage(resource.RUSAGE_SELF)
        return (*_processor(), own.ru_utime + own.ru_stime + _of_session(self._session))


def _processor() -> tuple[float, float]:
    """Seconds of all processors, and those not idle."""
    values = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return sum(values) / TICKS, (sum(values) - values[3] - values[4]) / TICKS


def _of_session(session: int) -> float:
    total = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it ended
        if int(fields[3]) == session:
            total += sum(int(field) for field in fields[11:15])
    return total / TICKS
