"""What is shown while a model loads."""

import asyncio
import io

import pytest
from rich.console import Console

import server.banner
from server.banner import show_progress

pytestmark = pytest.mark.anyio

STATUS = ("loading weights (8.0 GB, 1.60 GB/s, 3 s left)", 0.25)


async def shown(terminal: bool, seconds: float = 0.3) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    task = asyncio.create_task(show_progress(console, lambda: STATUS))
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def test_a_bar_on_a_terminal() -> None:
    text = await shown(terminal=True)
    assert STATUS[0] in text
    assert "25%" in text
    assert "━" in text


async def test_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.banner, "PROGRESS_LINE_SECONDS", 0.05)
    lines = (await shown(terminal=False)).splitlines()
    assert len(lines) > 1
    assert set(lines) == {f" 25%  {STATUS[0]}"}
