"""Sharing a pool out so that nothing is lost: by largest remainder, to the eighteenth place.

Each tenant first gets its exact share cut off after the eighteenth place (towards zero). The units left over, fewer
than there are tenants, go one each to those whose share lost most by the cut; among equals, to the first by key.
A negative pool (a credit) is shared as the positive one and turned round.
"""

from collections.abc import Mapping
from decimal import Context, Decimal

PLACES = 18
_EXACT = Context(prec=60)
#: Weights are whole numbers whose sum stays below this, so that a pool of 100 million a day does not overflow.
MOST_WEIGHT = 10**12


def share_out(amount: Decimal, weights: Mapping[str, int]) -> dict[str, Decimal]:
    """The pool by key. The shares add up to `amount` exactly; nobody to share with gives an empty mapping.

    This is the rule as it is stated; `shares_sql` does the same for all pools at once.
    """
    total = sum(weights.values())
    if not total:
        return {}
    units = int(_EXACT.scaleb(abs(amount), PLACES))
    floors = {key: units * weight // total for key, weight in weights.items()}
    left = units - sum(floors.values())
    for key in sorted(weights, key=lambda one: (-(units * weights[one] % total), one))[:left]:
        floors[key] += 1
    sign = -1 if amount < 0 else 1
    return {key: _EXACT.scaleb(Decimal(sign * floor), -PLACES) for key, floor in floors.items()}


def scaled(weights: Mapping[str, Decimal]) -> dict[str, int]:
    """Usage as whole weights of at most `MOST_WEIGHT` in all; who used nothing has none."""
    total = sum(weights.values(), Decimal(0))
    if not total:
        return {}
    factor = min(Decimal(10**6), Decimal(MOST_WEIGHT) / total)
    made = {key: int(amount * factor) for key, amount in weights.items()}
    return {key: weight for key, weight in made.items() if weight}


MEASURES = ("billed", "effective", "listed")


def shares_sql(pools: str, weights: str) -> str:
    """The shares of all pools, as a query.

    `pools` has `pool`, `rule`, `day` and the three measures; `weights` has `rule`, `day`, `tenant`, `key`,
    `weight`, one row for each tenant that shares in that rule's pools on that day.
    """
    units = ", ".join(
        f"CAST(replace(CAST(abs(p.{one}) AS VARCHAR), '.', '') AS HUGEINT) AS {one}_units, sign(p.{one}) AS {one}_sign"
        for one in MEASURES
    )
    cut = ", ".join(
        f"{one}_units * weight // total AS {one}_cut, {one}_units * weight % total AS {one}_lost"
        for one in MEASURES
    )
    ranked = ", ".join(
        f"row_number() OVER (PARTITION BY pool ORDER BY {one}_lost DESC, key) AS {one}_rank, "
        f"{one}_units - sum({one}_cut) OVER (PARTITION BY pool) AS {one}_left"
        for one in MEASURES
    )
    shares = ", ".join(
        f"CAST({one}_sign * ({one}_cut + CASE WHEN {one}_rank <= {one}_left THEN 1 ELSE 0 END) AS DECIMAL(38,0)) "
        f"* 0.000000000000000001::DECIMAL(18,18) AS {one}"
        for one in MEASURES
    )
    return (
        f"WITH totals AS (SELECT rule, day, sum(weight)::HUGEINT AS total FROM {weights} GROUP BY 1, 2), "
        f"parts AS (SELECT p.pool, w.tenant, w.key, w.weight::HUGEINT AS weight, t.total, {units} FROM {pools} p "
        f"JOIN {weights} w ON w.rule = p.rule AND w.day = p.day JOIN totals t ON t.rule = p.rule AND t.day = p.day), "
        f"cuts AS (SELECT *, {cut} FROM parts), ranks AS (SELECT *, {ranked} FROM cuts) "
        f"SELECT pool, tenant, {shares} FROM ranks"
    )
