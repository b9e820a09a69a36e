"""What is charged: arithmetic alone, no row is read here."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

CENT = Decimal("0.01")
ZERO = Decimal(0)
#: The dearest unit, and the highest tier: beyond them somebody mistyped.
MOST_PRICE, MOST_UNITS = Decimal(10) ** 9, Decimal(10) ** 24
Tiers = Sequence[tuple[Decimal | None, Decimal]]


def tiers_of(stored: Sequence[Mapping[str, Any]]) -> Tiers:
    """Tiers as `Price.tiers` keeps them, as numbers: up to which quantity (None: without end), price of a unit."""
    return [
        (None if one["up_to"] is None else Decimal(one["up_to"]), Decimal(one["price"])) for one in stored
    ]


def charge(quantity: Decimal, tiers: Tiers) -> Decimal:
    """Graduated: each unit costs what the tier says in which it lies. Exact; the caller rounds once."""
    total, below = ZERO, ZERO
    for up_to, price in tiers:
        top = quantity if up_to is None else min(quantity, up_to)
        if top > below:
            total += (top - below) * price
            below = top
    return total


def parse_tiers(text: str) -> list[dict[str, str | None]]:
    """`1000: 0, 50000: 0.002, more: 0.001` as `Price.tiers`. Raises ValueError, in words."""
    made: list[dict[str, str | None]] = []
    for part in text.split(","):
        up_to, _, price = (one.strip() for one in part.partition(":"))
        try:
            made.append(
                {"up_to": None if up_to == "more" else str(Decimal(up_to)), "price": str(Decimal(price))}
            )
        except ArithmeticError as error:
            raise ValueError(f"“{part.strip()[:40]}” is no tier; write 1000: 0, more: 0.002") from error
    return made


def check_tiers(stored: Any) -> None:
    """Raises ValueError, in words, for tiers that do not rise, are not open above, or of which anything is no good number."""
    reached = ZERO
    try:
        for place, tier in enumerate(stored):
            last, price = place == len(stored) - 1, Decimal(tier["price"])
            if (tier["up_to"] is None) != last or not price.is_finite() or not 0 <= price <= MOST_PRICE:
                raise ValueError
            if not last:
                up_to = Decimal(tier["up_to"])
                if not up_to.is_finite() or not reached < up_to <= MOST_UNITS:
                    raise ValueError
                reached = up_to
    except (TypeError, KeyError, ValueError, ArithmeticError) as error:
        raise ValueError(
            f"Tiers rise, the last is open above, no price is below nothing or above {MOST_PRICE:,}."
        ) from error
    if not stored:
        raise ValueError("Give at least one tier.")


def in_words(stored: Sequence[Mapping[str, Any]]) -> str:
    """The tiers as `parse_tiers` reads them."""
    return ", ".join(f"{'more' if one['up_to'] is None else one['up_to']}: {one['price']}" for one in stored)


def next_month(month: date) -> date:
    """The first day of the month after."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def months_back(month: date, count: int) -> list[date]:
    """A month and those before it, `count` in all, oldest first."""
    made = [month]
    while len(made) < count:
        made.append((made[-1] - timedelta(days=1)).replace(day=1))
    return made[::-1]


def spread(amount: Decimal, start: date, end: date) -> dict[date, Decimal]:
    """An amount in cents over the months of its days (`end` is the first day after), nothing lost: each month's part cut
    off after the cent, the cents left over one each to those that lost most by the cut, the earlier first."""
    days: dict[date, int] = {}
    at = start
    while at < max(end, start + timedelta(days=1)):
        month = at.replace(day=1)
        reach = min(next_month(month), max(end, start + timedelta(days=1)))
        days[month] = (reach - at).days
        at = reach
    cents, total = int(abs(amount).scaleb(2)), sum(days.values())
    parts = {month: cents * n // total for month, n in days.items()}
    order = sorted(days, key=lambda month: (-(cents * days[month] % total), month))
    for month in order[: cents - sum(parts.values())]:
        parts[month] += 1
    sign = -1 if amount < 0 else 1
    return {month: Decimal(sign * part).scaleb(-2) for month, part in parts.items()}
