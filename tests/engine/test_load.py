"""How far loading has come, as the server shows it."""

import pytest

import engine.load
from engine.messages import Loading, Planned


def test_progress_tells_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(engine.load.time, "monotonic", lambda: now)
    reports: list[Planned | Loading] = []
    progress = engine.load._in_percent("loading weights", 8_000_000_000, reports.append)
    for now, done in ((100.0, 0.0), (100.5, 0.001), (101.0, 0.25), (101.1, 0.2501), (104.0, 1.0)):
        progress(done)
    assert reports == [
        Loading("loading weights (8.0 GB)", 0.0),
        Loading("loading weights (8.0 GB, 2.00 GB/s, 3 s left)", 0.25),
        Loading("loading weights (8.0 GB, 2.00 GB/s, 0 s left)", 1.0),
    ]
