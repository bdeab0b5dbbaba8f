"""Permissions do not bind the superuser, as whom tests may run."""

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """The block runs with the rights of nobody, if it would else run as the superuser. What it imports must have been
    imported before."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
