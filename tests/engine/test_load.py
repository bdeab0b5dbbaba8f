"""How far loading has come, as the server shows it."""

import pytest

import engine.load
from engine.messages import Loading, Planned


def test_progress_tells_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(engine.load.time, "monotonic", lambda: now)
    reports: list[Planned | Loading] = []
    progress = engine.load._in_percent("loading weights", 8_000_000_000, reports.append)
    for seconds, done in ((0.0, 0.0), (0.5, 0.001), (1.0, 0.25), (1.1, 0.2501), (4.0, 1.0)):
        now = 100.0 + seconds
        progress(done)
    assert reports == [
        Loading("loading weights (8.0 GB)", 0.0),
        Loading("loading weights (8.0 GB, 2.00 GB/s, 3 s left)", 0.25),
        Loading("loading weights (8.0 GB, 2.00 GB/s, 0 s left)", 1.0),
    ]
