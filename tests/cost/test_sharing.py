"""A pool is shared out to the last digit, by the rule as stated and by the SQL that does it for all pools at once."""

from __future__ import annotations

from decimal import Decimal

import duckdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.cost.sharing import MOST_WEIGHT, scaled, share_out, shares_sql

AMOUNTS = st.decimals(min_value=-(10**8), max_value=10**8, places=18, allow_nan=False)
WEIGHTS = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.integers(1, 10**9), max_size=9)


@given(AMOUNTS, WEIGHTS)
def test_shares_add_up_to_the_pool(amount: Decimal, weights: dict[str, int]) -> None:
    shares = share_out(amount, weights)
    assert sum(shares.values(), Decimal(0)) == (amount if weights else 0)
    assert shares.keys() == weights.keys()


@given(AMOUNTS, WEIGHTS)
def test_no_share_is_further_from_exact_than_one_unit(amount: Decimal, weights: dict[str, int]) -> None:
    total = sum(weights.values())
    for key, share in share_out(amount, weights).items():
        assert abs(int(share.scaleb(18)) * total - int(amount.scaleb(18)) * weights[key]) < total


@given(AMOUNTS, WEIGHTS)
def test_order_and_sign_change_nothing(amount: Decimal, weights: dict[str, int]) -> None:
    turned = dict(reversed(weights.items()))
    assert share_out(amount, turned) == share_out(amount, weights)
    assert share_out(-amount, weights) == {key: -share for key, share in share_out(amount, weights).items()}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(AMOUNTS, min_size=1, max_size=4), WEIGHTS.filter(bool))
def test_the_sql_does_what_is_stated(amounts: list[Decimal], weights: dict[str, int]) -> None:
    with duckdb.connect() as duck:
        money = "DECIMAL(38,18)"
        duck.execute(
            f"CREATE TABLE pools (pool BIGINT, rule BIGINT, day DATE, billed {money}, effective {money}, listed {money})"
        )
        duck.execute(
            "CREATE TABLE weights (rule BIGINT, day DATE, tenant BIGINT, key VARCHAR, weight BIGINT)"
        )
        for number, amount in enumerate(amounts):
            duck.execute("INSERT INTO pools VALUES (?, 1, '2026-01-01', ?, ?, 0)", [number, amount, -amount])
        for tenant, (key, weight) in enumerate(weights.items()):
            duck.execute("INSERT INTO weights VALUES (1, '2026-01-01', ?, ?, ?)", [tenant, key, weight])
        rows = duck.execute(shares_sql("pools", "weights")).fetchall()
    keys = list(weights)
    found = {
        (pool, keys[tenant]): (billed, effective, listed) for pool, tenant, billed, effective, listed in rows
    }
    for number, amount in enumerate(amounts):
        for key, share in share_out(amount, weights).items():
            assert found[number, key] == (share, -share, 0)


@given(
    st.dictionaries(st.text("abc", min_size=1), st.decimals(0, 10**15, places=6, allow_nan=False), max_size=6)
)
def test_usage_becomes_whole_weights_within_bounds(usage: dict[str, Decimal]) -> None:
    weights = scaled(usage)
    assert all(weight > 0 for weight in weights.values())
    assert sum(weights.values()) <= MOST_WEIGHT
