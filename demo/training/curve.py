"""Draws a run's learning curve as an SVG picture: loss (logarithmic) and exact first answers over tokens."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

WIDTH, HEIGHT, MARGIN = 640, 320, 48
LOWEST_LOSS, HIGHEST_LOSS = 0.01, 10.0

Point = tuple[float, float]  # tokens, share of the height


def draw(log: Path, out: Path) -> None:
    """Reads log.jsonl and writes the picture."""
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    losses = [(line["tokens"], _height(line["loss"])) for line in lines if "loss" in line]
    exact = [(line["tokens"], line["exact"]["first"]) for line in lines if "exact" in line]
    end = max([tokens for tokens, _ in [*losses, *exact]], default=1)
    out.write_text(_picture(losses, exact, end), "utf-8")


def _height(loss: float) -> float:
    span = math.log(HIGHEST_LOSS / LOWEST_LOSS)
    return min(max(math.log(max(loss, LOWEST_LOSS) / LOWEST_LOSS) / span, 0.0), 1.0)


def _picture(losses: Sequence[Point], exact: Sequence[Point], end: float) -> str:
    right, bottom = WIDTH - MARGIN, HEIGHT - MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<path d="M{MARGIN} {MARGIN}V{bottom}H{right}V{MARGIN}" fill="none" stroke="black"/>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = _y(share)
        parts.append(f'<path d="M{MARGIN} {y:.0f}H{right}" stroke="#ddd"/>')
        parts.append(f'<text x="{right + 4}" y="{y + 4:.0f}" fill="#c40">{share:.0%}</text>')
    for loss in (0.01, 0.1, 1, 10):
        parts.append(f'<text x="12" y="{_y(_height(loss)) + 4:.0f}" fill="#06c">{loss:g}</text>')
    for part in (0.25, 0.5, 0.75, 1):
        x = MARGIN + part * (right - MARGIN)
        parts.append(f'<text x="{x:.0f}" y="{bottom + 18}" text-anchor="middle">{part * end / 1e6:.1f}M tokens</text>')
    parts += [_line(losses, end, "#06c"), _line(exact, end, "#c40")]
    parts.append(f'<text x="{MARGIN}" y="24" fill="#06c">loss of a learnt token</text>')
    parts.append(
        f'<text x="{right}" y="24" text-anchor="end" fill="#c40">held-out first answers, every token right</text>'
    )
    return "\n".join([*parts, "</svg>", ""])


def _y(share: float) -> float:
    return HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN)


def _line(points: Sequence[Point], end: float, colour: str) -> str:
    places = " ".join(f"{MARGIN + x / end * (WIDTH - 2 * MARGIN):.1f},{_y(share):.1f}" for x, share in points)
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>'
