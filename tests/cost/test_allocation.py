"""Whatever the rules and the bill: allocated, overhead and unallocated are what was billed, to the last digit."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.access.services import system_actor
from apps.cost import allocating, forgetting, importing, rulebook, summing
from apps.cost.models import (
    Bill,
    CostSeries,
    DailyCost,
    DayCost,
    MonthlyCost,
    Rate,
    Rule,
    RuleSet,
    Run,
    Statement,
    SubAccount,
    TenantCost,
    Usage,
)
from tests import factories
from tests.cost.bills import (
    LINE,
    add_rules,
    as_csv,
    current,
    deliver,
    deliver_sample,
    facts,
    lines,
    statement_total,
    sums,
    tenants,
)

pytestmark = pytest.mark.django_db(transaction=True)


def tag(key: str, value: str) -> dict[str, str]:
    return {"Tags": json.dumps({key: value})}


def by_tenant() -> dict[str | None, Decimal]:
    return sums("tenant__key")


class TestRules:
    def test_a_tag_names_the_tenant(self) -> None:
        tenants("acme", "globex")
        deliver(
            as_csv(
                [
                    *lines("3", **tag("customer", "Acme ")),
                    *lines("4", **tag("customer", "nobody")),
                    *lines("5"),
                ]
            )
        )
        add_rules({"kind": "tag", "tag": "customer"})
        assert by_tenant() == {"acme": 3, None: 9}

    def test_a_sub_account_belongs_to_a_tenant(self) -> None:
        (acme,) = tenants("acme")
        deliver(as_csv([*lines("3"), *lines("4", SubAccountId="sub-2")]))
        with factories.as_system():
            sub = SubAccount.objects.get(external_id="sub-1")
            sub.tenant = acme
            sub.save()
        add_rules({"kind": "sub_account"})
        assert by_tenant() == {"acme": 3, None: 4}

    def test_a_resource_is_an_instance_of_one_tenant(self) -> None:
        (acme,) = tenants("acme")
        factories.place(acme, factories.make_instance("acme-prod"))
        deliver(as_csv([*lines("3", ResourceId="arn:aws:ec2:1:vm/acme-prod"), *lines("4")]))
        add_rules({"kind": "resource"})
        assert by_tenant() == {"acme": 3, None: 4}

    def test_the_first_rule_takes_the_line(self) -> None:
        acme, _ = tenants("acme", "globex")
        deliver(as_csv([*lines("3", **tag("t", "globex")), *lines("4", ServiceName="S3"), *lines("5")]))
        add_rules(
            {"kind": "tag", "tag": "t"},
            {"kind": "fixed", "tenant": acme, "service": "S3"},
            {"kind": "overhead", "service": "EC2"},
        )
        assert by_tenant() == {"globex": 3, "acme": 4, None: 5}
        assert Run.objects.get(is_current=True).overhead == 5

    def test_shared_evenly_with_the_remainder_to_the_first(self) -> None:
        tenants("a", "b", "c")
        deliver(as_csv(lines("0.000000000000000010")))
        add_rules({"kind": "evenly"})
        assert {key: str(value.scaleb(18).normalize()) for key, value in by_tenant().items() if key} == {
            "a": "4",
            "b": "3",
            "c": "3",
        }

    def test_shared_by_fixed_shares(self) -> None:
        tenants("a", "b", "c")
        deliver(as_csv(lines("10")))
        add_rules({"kind": "shares", "shares": {"a": 3, "b": 1}})
        assert by_tenant() == {"a": Decimal("7.5"), "b": Decimal("2.5")}

    def test_shared_by_usage_of_the_day(self) -> None:
        a, b = tenants("a", "b")
        for day, tenant, amount in ((5, a, 30), (5, b, 10), (6, b, 1)):
            Usage.objects.create(day=date(2026, 9, day), driver="requests", tenant=tenant, amount=amount)
        other = {"ChargePeriodStart": "2026-09-06 00:00:00", "ChargePeriodEnd": "2026-09-06 01:00:00"}
        unused = {"ChargePeriodStart": "2026-09-07 00:00:00", "ChargePeriodEnd": "2026-09-07 01:00:00"}
        deliver(as_csv([*lines("4"), *lines("1", **other), *lines("2", **unused)]))
        add_rules({"kind": "usage", "driver": "requests"})
        assert by_tenant() == {"a": 3, "b": 2, None: 2}
        assert Run.objects.get(is_current=True).unallocated == 2, (
            "a day that nobody used anything stays unallocated"
        )

    def test_nobody_to_share_with_leaves_it_unallocated(self) -> None:
        deliver(as_csv(lines("4")))
        add_rules({"kind": "evenly"})
        assert Run.objects.get(is_current=True).unallocated == 4


class TestVersions:
    def test_new_rules_leave_the_old_result_to_compare(self) -> None:
        tenants("a")
        deliver(as_csv(lines("4")))
        before = Run.objects.get()
        add_rules({"kind": "evenly"})
        assert by_tenant() == {"a": 4}
        assert DailyCost.objects.filter(run=before).get().tenant is None
        assert list(Run.objects.order_by("pk").values_list("is_current", flat=True)) == [False, True]

    def test_facts_of_the_run_before_the_last_are_forgotten(self) -> None:
        tenants("a")
        deliver(as_csv(lines("4")))
        add_rules({"kind": "evenly"})
        add_rules({"kind": "overhead"})
        assert forgetting.forget_old_facts() == 1 == forgetting.forget_old_facts() + 1
        assert sums("rule__kind") == {"overhead": 4}
        assert DailyCost.objects.filter(run__is_current=False).get().rule is not None, (
            "the last former one stays"
        )
        assert MonthlyCost.objects.count() == 3, "what they came to stays"

    def test_it_is_repeatable(self) -> None:
        tenants("a", "b")
        deliver(as_csv(lines("4", "1", "0.1")))
        add_rules({"kind": "evenly"})
        once = facts()
        with factories.as_system():
            rulebook.allocate_again(Bill.objects.get())
        assert facts() == once

    def test_a_preview_writes_nothing(self) -> None:
        tenants("a")
        deliver(as_csv(lines("4")))
        actor = system_actor("command")
        rulebook.add_rule(actor=actor, kind="evenly")
        before = facts(), Run.objects.count()
        seen = rulebook.preview(RuleSet.objects.get(state="draft"))
        assert seen.totals == {"USD": (Decimal(4), Decimal(0), Decimal(0))}
        assert seen.by_rule == [("shared evenly", "USD", Decimal(4))]
        assert (facts(), Run.objects.count()) == before

    def test_an_active_version_is_never_edited(self) -> None:
        add_rules({"kind": "overhead"})
        from django.core.exceptions import ValidationError

        with pytest.raises(ValidationError, match="draft"):
            rulebook.remove_rule(Rule.objects.get(), actor=system_actor("command"))

    def test_rules_are_moved_by_position(self) -> None:
        actor = system_actor("command")
        for key in ("a", "b"):
            rulebook.add_rule(actor=actor, kind="tag", tag=key)
        rulebook.add_rule(actor=actor, position=1, kind="tag", tag="c")
        assert list(Rule.objects.order_by("position").values_list("position", "tag")) == [
            (1, "c"),
            (2, "a"),
            (3, "b"),
        ]

    @pytest.mark.parametrize(
        "values",
        [
            {"kind": "tag"},
            {"kind": "tag", "tag": 'a"b'},
            {"kind": "shares", "shares": {"a": -1}},
            {"kind": "usage"},
        ],
    )
    def test_a_rule_that_says_too_little_is_refused(self, values: dict[str, Any]) -> None:
        from django.core.exceptions import ValidationError

        with pytest.raises(ValidationError):
            rulebook.add_rule(actor=system_actor("command"), **values)
        assert not Rule.objects.exists()

    def test_shares_of_a_tenant_that_is_not_there_stop_the_activation(self) -> None:
        actor = system_actor("command")
        rulebook.add_rule(actor=actor, kind="shares", shares={"ghost": 1})
        with pytest.raises(rulebook.NotActivated, match="ghost"):
            rulebook.activate(RuleSet.objects.get(state="draft"), actor=actor, note="why")


class TestTheRealSample:
    def test_by_tag_nothing_is_lost(self) -> None:
        tenants("brightpathmatrix", "zoommapmax")
        deliver_sample()
        add_rules(
            {"kind": "tag", "tag": "application"}, {"kind": "evenly", "service": "Elastic Load Balancing"}
        )
        assert sum(by_tenant().values()) == statement_total() == Decimal("14.66598547521")
        assert by_tenant()["brightpathmatrix"] > 1
        runs = Run.objects.filter(is_current=True)
        assert sum(r.allocated + r.overhead + r.unallocated for r in runs) == statement_total()


# --- Properties ----------------------------------------------------------------------------------

MONEY = st.decimals(min_value=-1000, max_value=1000, places=12, allow_nan=False).map(lambda d: f"{d:f}")
ONE_LINE = st.fixed_dictionaries(
    {
        "BilledCost": MONEY, "EffectiveCost": MONEY, "ListCost": MONEY,
        "BillingAccountId": st.sampled_from(["p1", "p2"]), "BillingCurrency": st.sampled_from(["USD", "EUR"]),
        "SubAccountId": st.sampled_from(["s1", "s2", "NULL"]), "ServiceName": st.sampled_from(["EC2", "S3", "it's"]),
        "ChargeCategory": st.sampled_from(["Usage", "Credit", "Tax"]),
        "ChargePeriodStart": st.sampled_from(["2026-09-05 03:00:00", "2026-09-05T23:00:00+02:00", "2026-09-06 00:00:00"]),
        "ChargePeriodEnd": st.just("2026-09-07 00:00:00"),
        "Tags": st.sampled_from(["NULL", '{"t": "ta"}', '{"t": "tb", "u": "ta"}', "{broken", '{"t": 5}', '{"t": null}']),
        "ResourceId": st.sampled_from(["NULL", "arn:aws:ec2:1:vm/tc-prod"]),
    }
)  # fmt: skip
WHERE = st.fixed_dictionaries(
    {},
    optional={
        "service": st.sampled_from(["EC2", "it's"]),
        "sub_account": st.just("s1"),
        "category": st.just("Usage"),
    },
)
KINDS = st.sampled_from(
    [
        {"kind": "tag", "tag": "t"}, {"kind": "tag", "tag": "u"}, {"kind": "sub_account"}, {"kind": "resource"}, {"kind": "evenly"},
        {"kind": "overhead"}, {"kind": "usage", "driver": "requests"}, {"kind": "shares", "shares": {"ta": 2, "tc": 5}},
    ]
)  # fmt: skip
RULES = st.lists(st.tuples(KINDS, WHERE).map(lambda pair: {**pair[0], **pair[1]}), max_size=5)
ALL_HERE = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def three() -> Iterator[list[Any]]:
    found = tenants("ta", "tb", "tc")
    factories.place(found[2], factories.make_instance("tc-prod"))
    for tenant, amount in zip(found, ("1", "0.333333", "7"), strict=True):
        Usage.objects.create(day=date(2026, 9, 5), driver="requests", tenant=tenant, amount=amount)
    yield found


def forget() -> None:
    """Between examples: bills and rules away, tenants stay."""
    with factories.as_system():
        for model in (CostSeries, TenantCost, MonthlyCost, DayCost, Run):
            model.objects.all()._raw_delete("default")  # type: ignore[attr-defined]
        Statement.objects.update(replaces=None)
        for model in (Statement, Bill, Rule, RuleSet):
            for row in model.objects.all():
                row.delete()


def totals_of(some: list[dict[str, str]]) -> dict[tuple[str, str, str], Decimal]:
    found: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for line in some:
        sub = line["BillingAccountId"] if line["SubAccountId"] == "NULL" else line["SubAccountId"]
        day = "2026-09-06" if line["ChargePeriodStart"].startswith("2026-09-06") else "2026-09-05"
        found[day, sub, line["BillingCurrency"]] += Decimal(line["BilledCost"])
    return found


def as_imported(*files: list[dict[str, str]]) -> list[tuple[Any, ...]]:
    bill = deliver(*(as_csv(some) for some in files))
    assert bill.state == "imported", bill.report
    return facts()


@ALL_HERE
@given(st.lists(ONE_LINE, min_size=1, max_size=12), RULES, st.randoms())
def test_for_any_rules_and_any_bill(
    three: list[Any], some: list[dict[str, str]], rules: list[dict[str, Any]], random: Any
) -> None:
    """Nothing is lost per day, sub-account and currency; order, splitting and importing again change nothing."""
    forget()
    add_rules(*rules)
    made = as_imported(some)
    found: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for day, _, sub, _, _, currency, billed, *_ in made:
        found[str(day), sub, currency] += billed
    assert {key: value for key, value in found.items() if value} == {
        key: value for key, value in totals_of(some).items() if value
    }
    again, is_new = importing.receive_upload([("x.csv", [as_csv(some)])], actor=system_actor("command"))
    importing.read_bill(again.pk)
    assert not is_new and facts() == made
    for model in (MonthlyCost, DayCost):
        rows = model.objects.filter(run__is_current=True).values_list(
            "sub_account__external_id", "currency", "rule"
        )
        daily = current().order_by().values_list("sub_account__external_id", "currency", "rule")
        assert set(rows.annotate(Sum("billed"), Sum("effective"))) == set(
            daily.annotate(Sum("billed"), Sum("effective"))
        )
    by_tenant = TenantCost.objects.filter(run__is_current=True).values_list("run", "tenant", "currency")
    daily = current().filter(tenant__isnull=False).order_by().values_list("run", "tenant", "currency")
    assert set(by_tenant.annotate(Sum("billed"), Sum("listed"))) == set(
        daily.annotate(Sum("billed"), Sum("listed"))
    )
    # As of a large bill, whose texts become one key; and so where there are too many ways for that.
    for most in (10**6, 1):
        with (
            factories.as_system(),
            mock.patch.multiple(summing, LINES_WORTH_IT=0, MOST_WAYS=most),
        ):
            rulebook.allocate_again(again)
        assert facts() == made
    forget()
    add_rules(*rules)
    shuffled = list(some)
    random.shuffle(shuffled)
    assert as_imported(shuffled) == made
    if len(some) > 1:
        forget()
        add_rules(*rules)
        assert as_imported(some[: len(some) // 2], some[len(some) // 2 :]) == made


def test_totals_that_do_not_add_up_stop_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the sum is real: with a line gone nothing is written."""
    real = allocating._sum_up

    def loses(duck: Any, rules: Any, kept: Any) -> None:
        real(duck, rules, kept)
        duck.execute("UPDATE facts_kept SET billed = billed - 0.000000000000000001")

    monkeypatch.setattr(allocating, "_sum_up", loses)
    bill = deliver(as_csv(lines("1")), read=False)
    with pytest.raises(allocating.Unbalanced):
        importing.read_bill(bill.pk)
    assert not current().exists() and not Statement.objects.exists()
    assert LINE and not Rate.objects.exists()
