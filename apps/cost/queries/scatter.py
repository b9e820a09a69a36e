"""Cost against revenue, a dot for each tenant: drawn here, so that a page needs no script and no request for it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil, floor, log10

from .margins import Margin, Margins

#: The drawing's size and what its axes take at the left and below, in the SVG's own units.
WIDTH, HEIGHT, LEFT, BELOW, ABOVE = 420, 280, 46, 26, 8
#: Dots with a name of their own: those that lose most, and the costliest.
NAMED = 12


@dataclass(frozen=True, slots=True)
class Dot:
    """A tenant's place."""

    row: Margin
    x: float
    y: float

    @property
    def loses(self) -> bool:
        return self.row.margin < 0


@dataclass(frozen=True, slots=True)
class Tick:
    """A power of ten on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Scatter:
    """All tenants: two SVG paths of dots (those that lose lie above the diagonal), and the few that are links.

    Both axes have one scale, by powers of ten. `edge` tenants earn or cost nothing or less: they lie on an edge.
    """

    earning: str
    losing: str
    named: Sequence[Dot]
    across: Sequence[Tick]
    up: Sequence[Tick]
    count: int
    edge: int
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    top: int = ABOVE
    bottom: int = HEIGHT - BELOW
    right: int = WIDTH - 8


def scatter(found: Margins) -> Scatter | None:
    """The drawing; none where nobody costs or earns anything."""
    logs = [
        log10(value) for row in found.rows for value in (float(row.revenue), float(row.cost)) if value > 0
    ]
    if not logs:
        return None
    low, high = floor(min(logs)), ceil(max(logs))
    high = max(high, low + 1)
    across = (WIDTH - 8 - LEFT) / (high - low)
    up = (HEIGHT - BELOW - ABOVE) / (high - low)

    def place(row: Margin) -> Dot:
        return Dot(row, LEFT + across * _log(row.revenue, low), HEIGHT - BELOW - up * _log(row.cost, low))

    dots = [place(row) for row in found.rows]
    losing = sorted((dot for dot in dots if dot.loses), key=lambda dot: dot.row.margin)
    named = {dot.row.tenant_id: dot for dot in (*losing[:NAMED], *dots[:NAMED])}
    step = max(1, (high - low + 5) // 6)
    powers = range(low, high + 1, step)
    return Scatter(
        _path(dot for dot in dots if not dot.loses), _path(losing), list(named.values()),
        [Tick(LEFT + across * (n - low), _power(n)) for n in powers],
        [Tick(HEIGHT - BELOW - up * (n - low), _power(n)) for n in powers],
        len(dots), sum(1 for row in found.rows if row.revenue <= 0 or row.cost <= 0),
    )  # fmt: skip


def _log(value: Decimal, low: int) -> float:
    number = float(value)
    return max(0.0, log10(number) - low) if number > 0 else 0.0


def _path(dots: Iterable[Dot]) -> str:
    """Dots as one path: lines without length, whose round ends are seen. Five thousand are sixty kilobytes."""
    return "".join(f"M{dot.x:.1f} {dot.y:.1f}h0" for dot in dots)


def _power(n: int) -> str:
    """`0.01`, `1`, `1,000`, `1M`."""
    if n >= 6:
        return f"{10 ** (n - 6):,}M"
    return f"{10**n:,}" if n >= 0 else f"{Decimal(10) ** n:f}"
