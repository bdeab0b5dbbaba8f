"""What `abruzzi serve` prints at start-up: progress, what is served, the memory plan, how to try it."""

import asyncio
import ipaddress
import json
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from engine import PlanLine, Ready

PROGRESS_LINE_SECONDS = 10.0  # between lines where there is no terminal to draw a bar on


async def show_progress(console: Console, status: Callable[[], tuple[str, float]]) -> None:
    """Shows (what is being done, share done) until cancelled: a bar on a terminal, else a line now and then."""
    if not console.is_terminal:
        while True:
            await asyncio.sleep(PROGRESS_LINE_SECONDS)
            detail, done = status()
            console.print(f"{done:4.0%}  {detail}", markup=False, highlight=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("starting", total=1.0)
        while True:
            detail, done = status()
            progress.update(bar, description=detail or "starting", completed=done)
            await asyncio.sleep(0.1)


def print_ready(
    console: Console, names: Sequence[str], ready: Ready, notes: Sequence[str], url: str, line: str | None
) -> None:
    """The start-up report. `url` is the address to connect to; `line`: a command to try it with, if there is one."""
    console.print(f"\n[bold]{names[0]}[/]", *(f"(also {name})" for name in names[1:]), highlight=False)
    console.print(
        f"{ready.architecture}, {count(ready.parameters)} parameters, {ready.dtype} on {ready.device}\n"
        f"up to {ready.max_model_len:,} tokens a request, {ready.kv_tokens:,} in the KV cache",
        highlight=False,
    )
    for note in (*ready.notes, *notes):
        console.print(f"[yellow]note:[/] {_plain(note)}", highlight=False, soft_wrap=True)
    console.print(f"\nReady on [bold]{url}[/] (Ctrl-C stops).", "Try:\n" if line else "", highlight=False)
    if line is not None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
        console.print()


def plan_table(plan: Sequence[PlanLine]) -> Table:
    """The memory plan, with its sum."""
    table = Table(
        title="\nMemory plan", title_justify="left", box=None, pad_edge=False, show_header=False, show_footer=True
    )
    table.add_column("", footer="total")
    table.add_column("", justify="right", footer=size(sum(line.bytes for line in plan)))
    table.add_column("", style="dim")
    for line in plan:
        table.add_row(_plain(line.name), size(line.bytes), _plain(line.detail))
    return table


def curl_line(url: str, model: str, keys: bool) -> str:
    """A command to paste into a shell. `keys`: whether clients need an API key, which is not shown."""
    body = {"model": model, "messages": [{"role": "user", "content": "What is the Abruzzi Spur?"}], "max_tokens": 60}
    lines = [f"curl {url}/v1/chat/completions", "-H 'Content-Type: application/json'"]
    if keys:
        lines.append('-H "Authorization: Bearer ${ABRUZZI_API_KEY%%,*}"')  # the first, should it hold several
    quoted = json.dumps(body).replace("'", "'\\''")
    first = "# ABRUZZI_API_KEY must hold one of the server's keys\n" if keys else ""
    return first + " \\\n  ".join([*lines, f"-d '{quoted}'"])


def address(host: str, port: int) -> str:
    """The URL at which this machine reaches a server that listens on `host`."""
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if parsed.is_unspecified:
        parsed = ipaddress.ip_address("::1" if parsed.version == 6 else "127.0.0.1")
    return f"http://[{parsed}]:{port}" if parsed.version == 6 else f"http://{parsed}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def size(number: int) -> str:
    """Bytes for a person: 16.6 MiB."""
    value = float(number)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.2f} TiB"


def count(number: int) -> str:
    """A large number for a person: 8.3 million."""
    for scale, word in ((10**12, "trillion"), (10**9, "billion"), (10**6, "million")):
        if number >= scale:
            return f"{number / scale:.1f} {word}"
    return f"{number:,}"


def _plain(text: str) -> str:
    """Text that rich shall not read as markup."""
    return text.replace("[", "\\[")
