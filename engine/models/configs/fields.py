"""Typed access to the JSON object of a config.json; every error names the key, the value and the file."""

import math
from collections.abc import Mapping
from typing import Any

from engine.errors import CheckpointError

DTYPES = ("bfloat16", "float32", "float16")


class Fields:
    """One JSON object. `where` names it in errors."""

    def __init__(self, raw: Mapping[str, Any], where: str) -> None:
        self.raw = raw
        self.where = where

    def get(self, key: str) -> Any:
        return self.raw.get(key)

    def refuse(self, text: str) -> CheckpointError:
        return CheckpointError(f"{self.where}: {text}")

    def _require(self, key: str, default: Any) -> Any:
        value = self.raw.get(key)
        if value is None:
            if default is None:
                raise self.refuse(f"{key} is missing")
            value = default
        return value

    def count(self, key: str, *, default: int | None = None, least: int = 1) -> int:
        value = self._require(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.refuse(f"{key} is {value!r}, expected an integer of at least {least}")
        return value

    def number(self, key: str, *, default: float | None = None, zero: bool = False) -> float:
        value = self._require(key, default)
        fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not fits or value < 0 or (value == 0 and not zero):
            raise self.refuse(f"{key} is {value!r}, expected a positive number")
        return float(value)

    def flag(self, key: str, *, default: bool | None = None) -> bool:
        value = self._require(key, default)
        if not isinstance(value, bool):
            raise self.refuse(f"{key} is {value!r}, expected true or false")
        return value

    def only(self, key: str, supported: object, *, absent: bool = True) -> None:
        """Refuses any value of `key` but `supported` (and, where `absent`, none at all)."""
        value = self.raw.get(key)
        if not (value == supported or (absent and value is None)):
            raise self.refuse(f"{key} {value!r} is not supported, only {supported!r}")

    def dtype(self) -> str:
        """transformers 5 writes `dtype` where older versions wrote `torch_dtype`."""
        dtype = self.get("dtype") if self.get("dtype") is not None else self.get("torch_dtype")
        if dtype not in DTYPES:
            raise self.refuse(f"torch_dtype is {dtype!r}, expected one of {', '.join(DTYPES)}")
        return str(dtype)
