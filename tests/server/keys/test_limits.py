"""Buckets and usage, on a clock of their own."""

from hypothesis import given
from hypothesis import strategies as st

from server.keys.limits import MINUTE, Bucket, Usage


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.integers(1, 1000), st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=200))
def test_no_minute_sees_more_than_twice_what_is_allowed(size: int, steps: list[tuple[float, bool]]) -> None:
    """A full bucket and what flows in meanwhile; in the long run it is what is allowed."""
    clock = Clock()
    bucket = Bucket(size, clock)
    taken: list[float] = []
    for passed, wants in steps:
        clock.now += passed
        if wants and bucket.seconds_until(1) == 0:
            bucket.take(1)
            taken.append(clock.now)
        assert 0 <= bucket.level <= size
    for start in taken:
        assert sum(start <= at < start + MINUTE for at in taken) <= 2 * size
    assert len(taken) <= size + clock.now * size / MINUTE + 1e-6


def test_an_overdrawn_bucket_recovers_at_its_rate() -> None:
    clock = Clock()
    bucket = Bucket(60, clock)
    bucket.take(90)
    assert bucket.level == -30
    assert bucket.seconds_until(1) == 31
    clock.now = 31
    assert bucket.seconds_until(1) == 0
    clock.now = 1000
    assert bucket.level == 60
    assert bucket.seconds_until(100) == 0  # more than it can ever hold: full is enough


def test_what_refuses_is_named_and_when_it_ends() -> None:
    clock = Clock()
    usage = Usage(2, 100, 1, clock)
    assert usage.refusal() is None
    usage.begin()
    why, seconds = usage.refusal() or ("", 0)
    assert "at a time" in why
    assert seconds == 1
    usage.end()
    usage.begin()
    usage.end()
    why, seconds = usage.refusal() or ("", 0)
    assert "2 requests a minute" in why
    assert seconds == 30
    clock.now = 30
    assert usage.refusal() is None
    usage.spend(130)
    why, seconds = usage.refusal() or ("", 0)
    assert "100 tokens a minute" in why
    assert 18 <= seconds <= 19
    headers = usage.headers()
    assert headers["x-ratelimit-limit-tokens"] == "100"
    assert headers["x-ratelimit-remaining-tokens"] == "0"
    assert headers["x-ratelimit-remaining-requests"] == "1"


def test_new_limits_take_effect_on_what_is_running() -> None:
    clock = Clock()
    usage = Usage(10, 100, 1, clock)
    usage.begin()
    usage.limit(10, 200, 2)
    headers = usage.headers()
    assert headers["x-ratelimit-remaining-requests"] == "9"
    assert headers["x-ratelimit-remaining-tokens"] == "200"
    assert usage.refusal() is None
    usage.limit(10, None, 1)
    assert "at a time" in (usage.refusal() or ("", 0))[0]
    usage.end()
    assert usage.refusal() is None
    assert "x-ratelimit-limit-tokens" not in usage.headers()


def test_no_limits_no_headers() -> None:
    usage = Usage(None, None, None)
    usage.begin()
    usage.spend(10**9)
    assert usage.refusal() is None
    assert usage.headers() == {}
