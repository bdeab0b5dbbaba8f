"""Line charts with logarithmic axes, as SVG pictures for the docs."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 340, 70, 20, 44, 52
COLOURS = ("#06c", "#c40", "#083", "#909")

Points = Sequence[tuple[float, float]]


def line_chart(title: str, across: str, up: str, lines: Mapping[str, Points]) -> str:
    """Each line by its name; names that begin with "limit" are dashed. All values must be above 0."""
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    horizontal, vertical = _Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT), _Axis(min(ys), max(ys), HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="16" font-weight="bold">{escape(title)}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{escape(across)}</text>',
        f'<text x="8" y="34">{escape(up)}</text>',
    ]
    for x in sorted(set(xs)):
        place = horizontal.place(x)
        parts.append(f'<path d="M{place:.0f} {TOP}V{HEIGHT - BOTTOM}" stroke="#eee"/>')
        parts.append(f'<text x="{place:.0f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{_short(x)}</text>')
    for y in vertical.marks():
        place = vertical.place(y)
        parts.append(f'<path d="M{LEFT} {place:.0f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{place + 4:.0f}" text-anchor="end">{_short(y)}</text>')
    for (name, points), colour in zip(lines.items(), COLOURS, strict=False):
        dashes = ' stroke-dasharray="5 4"' if name.startswith("limit") else ""
        path = " ".join(f"{horizontal.place(x):.1f},{vertical.place(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        x, y = points[-1]
        parts.append(
            f'<text x="{horizontal.place(x) - 4:.0f}" y="{vertical.place(y) - 6:.0f}" text-anchor="end"'
            f' fill="{colour}">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


class _Axis:
    """A logarithmic scale from `low` to `high`, drawn between two places."""

    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        self.low, self.high = low, high if high > low else low * 2
        self._first, self._last = first, last

    def place(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self._first + share * (self._last - self._first)

    def marks(self) -> list[float]:
        """1, 2 and 5 times the powers of ten within the scale; every one of few, the powers of many."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        steps = (1,) if len(powers) > 4 else (1, 2, 5)
        every = [step * 10.0**power for power in powers for step in steps]
        return [value for value in every if self.low <= value <= self.high]


def _short(value: float) -> str:
    if value >= 1024 and value % 1024 == 0:
        return f"{value / 1024:.0f}k"
    return f"{value:g}"
