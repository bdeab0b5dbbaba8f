"""The randomness of sampling: one uniform number for each (seed, position), whatever else is in the batch.

A counter-based generator has no state to lose: the same request draws the same numbers alone or among others, before
and after a preemption. The mixing function is SplitMix64's (Steele, Lea and Flood, "Fast splittable pseudorandom
number generators", 2014).
"""

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def _mix(value: int) -> int:
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)


def uniform(seed: int, position: int) -> float:
    """In [0, 1), with 53 bits. `seed` is any integer (its low 64 bits count), `position` that of the token drawn."""
    state = _mix((seed + _GOLDEN) & _MASK)
    return (_mix((state + (position + 1) * _GOLDEN) & _MASK) >> 11) * 2.0**-53
