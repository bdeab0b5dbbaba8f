"""`abruzzi doctor`: what this machine is, and what the engine can use of it."""

import importlib.metadata

from rich.console import Console
from rich.table import Table

from server.commands.engine_program import run_engine_program


def doctor(console: Console) -> None:
    """Prints a table. Raises ConfigError if the engine cannot even be imported."""
    table = Table("", "", show_header=False)
    table.add_row("abruzzi", importlib.metadata.version("abruzzi"))
    for what, how in run_engine_program("engine.doctor"):
        table.add_row(what, how)
    console.print(table)
