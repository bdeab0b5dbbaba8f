"""`abruzzi keys list`."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from server.keys.key_file import read_keys


def list_keys(file: Path) -> None:
    """Prints a table. Raises ConfigError."""
    table = Table("name", "models", "requests a minute", "tokens a minute", "at a time", "priority", "expires", "admin")
    for key in read_keys(file):
        limits = (key.requests_per_minute, key.tokens_per_minute, key.concurrent_requests)
        expires = "–" if key.expires is None else f"{key.expires:%Y-%m-%d %H:%M}Z"
        table.add_row(
            key.name,
            "all" if key.models is None else ", ".join(key.models),
            *("–" if limit is None else f"{limit:,}" for limit in limits),
            str(key.priority),
            f"{expires} (over)" if key.expired() else expires,
            "yes" if key.admin else "no",
        )
    Console().print(table)
