"""Other formats in, FOCUS out: AWS CUR 2, OpenCost's allocation API, and the allocated result, which is read in again."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.access.services import system_actor
from apps.cost import importing
from apps.cost.models import Statement
from tests import factories
from tests.cost.bills import add_rules, as_csv, deliver, lines, rules_of, statement_total, sums, tenants
from tests.cost.test_allocation import forget

pytestmark = pytest.mark.django_db(transaction=True)

#: Columns as docs.aws.amazon.com/cur/latest/userguide/table-dictionary-cur2.html names them; tags are one map.
CUR = """
SELECT * FROM (VALUES
 ('Usage', 'AmazonEC2', 3.5::DOUBLE, 4.0::DOUBLE, MAP {'user_tenant': 'acme'}, 'i-1', '2026-09-02'),
 ('SavingsPlanCoveredUsage', 'AmazonEC2', 2.0, 2.5, MAP {'user_tenant': 'globex'}, 'i-2', '2026-09-02'),
 ('Tax', 'AmazonEC2', 0.7, NULL, MAP {}, NULL, '2026-09-01'),
 ('Credit', 'AmazonS3', -1.2, NULL, NULL, NULL, '2026-09-03')
) t(line_item_line_item_type, line_item_product_code, line_item_unblended_cost, pricing_public_on_demand_cost, resource_tags,
    line_item_resource_id, day)
"""
CUR_FILE = f"""
SELECT * EXCLUDE (day), CAST(day AS TIMESTAMP) AS line_item_usage_start_date, CAST(day AS TIMESTAMP) + INTERVAL 1 HOUR AS
line_item_usage_end_date, '111122223333' AS bill_payer_account_id, 'Amazon Web Services, Inc.' AS bill_invoicing_entity,
TIMESTAMP '2026-09-01' AS bill_billing_period_start_date, TIMESTAMP '2026-10-01' AS bill_billing_period_end_date,
'USD' AS line_item_currency_code, '444455556666' AS line_item_usage_account_id, 1.0::DOUBLE AS line_item_usage_amount FROM ({CUR})
"""


def opencost(**more: Any) -> dict[str, Any]:
    """Two allocations in the shape of opencost.io/docs/integrations/api."""
    one = {
        "name": "cluster-one/acme-prod", "properties": {"cluster": "cluster-one", "namespace": "acme-prod", "labels": {"tenant": "acme"}},
        "window": {"start": "2026-09-05T00:00:00Z", "end": "2026-09-06T00:00:00Z"}, "start": "2026-09-05T00:00:00Z",
        "end": "2026-09-06T00:00:00Z", "minutes": 1440, "cpuCost": 0.25, "cpuCostAdjustment": 0, "gpuCost": 0, "ramCost": 0.125,
        "ramCostAdjustment": -0.005, "pvCost": 0.01, "networkCost": 0.00012345678901234567, "sharedCost": 0, "externalCost": 0,
        "loadBalancerCost": 0, "totalCost": 0.5, **more,
    }  # fmt: skip
    idle = {
        "properties": {"cluster": "cluster-one"},
        "start": one["start"],
        "end": one["end"],
        "cpuCost": 2,
        "totalCost": 2,
    }
    return {"code": 200, "data": [{"acme-prod": one, "__idle__": idle}]}


class TestCur:
    def test_a_cur_2_export_in_parquet(self, tmp_path: Path) -> None:
        tenants("acme", "globex")
        path = tmp_path / "cur.parquet"
        duckdb.execute(f"COPY ({CUR_FILE}) TO '{path}' (FORMAT parquet)")
        bill, _ = importing.receive_paths([path], actor=system_actor("command"))
        importing.read_bill(bill.pk)
        bill.refresh_from_db()
        assert bill.state == "imported", bill.report
        add_rules(
            {"kind": "tag", "tag": "user_tenant", "category": "Usage"},
            {"kind": "overhead", "category": "Tax"},
        )
        assert sums("tenant__key") == {"acme": Decimal("3.5"), "globex": 2, None: Decimal("-0.5")}
        statement = Statement.objects.get(is_current=True)
        assert (statement.billed, statement.effective, statement.listed) == (5, 5, 6), (
            "no list price: the billed cost stands for it"
        )


class TestOpenCost:
    def deliver(self, data: Any) -> Any:
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        return deliver(raw, name="allocation.json")

    def test_components_are_services_and_the_total_is_kept(self) -> None:
        tenants("acme")
        bill = self.deliver(opencost())
        assert bill.state == "imported", bill.report
        add_rules({"kind": "tag", "tag": "tenant"})
        assert sums("tenant__key") == {"acme": Decimal("0.5"), None: 2}
        assert sums("service")["Kubernetes memory"] == Decimal("0.12")
        assert sums("service")["Kubernetes CPU"] == Decimal("2.25")
        assert statement_total() == Decimal("2.5")

    @pytest.mark.parametrize(
        "data",
        [
            b"{",
            b"[]",
            b"{}",
            {"data": [{"x": {"start": "now"}}]},
            opencost(cpuCost="much"),
            opencost(start=5),
            b"\xff",
            opencost(cpuCost=float("nan")),
        ],
    )
    def test_what_is_no_answer_is_refused_whole(self, data: Any) -> None:
        bill = self.deliver(data)
        assert (bill.state, rules_of(bill)) == ("refused", {"file.unreadable"})
        assert not Statement.objects.exists()


def client(kind: str = "everything", obj: Any = None) -> Client:
    user = factories.make_user()
    factories.grant(user, "finance", kind, obj)
    made = Client()
    made.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return made


def exported(form: str, *scope: Any) -> bytes:
    response = client(*scope).get(reverse("cost:focus"), {"form": form})
    assert response.status_code == 200
    return b"".join(response.streaming_content)  # type: ignore[arg-type]


AMOUNTS = st.lists(
    st.tuples(st.decimals(-1000, 1000, places=15, allow_nan=False), st.sampled_from(["ta", "tb", "nobody"]), st.sampled_from(["EC2", "it's, \"so\""])),
    min_size=1, max_size=8,
)  # fmt: skip


class TestFocusOut:
    @pytest.mark.parametrize("form", ["csv", "parquet"])
    @settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
    @given(AMOUNTS)
    def test_read_in_again_it_gives_the_same(self, form: str, some: list[tuple[Decimal, str, str]]) -> None:
        from apps.tenants.models import Tenant

        forget()
        if not Tenant.objects.exists():
            tenants("ta", "tb")
        rules = ({"kind": "tag", "tag": "t", "service": "EC2"}, {"kind": "evenly"})
        deliver(
            as_csv(
                [
                    line
                    for amount, tenant, service in some
                    for line in lines(f"{amount:f}", Tags=json.dumps({"t": tenant}), ServiceName=service)
                ]
            )
        )
        add_rules(*rules)
        before, total = sums("tenant__key"), statement_total()
        file = exported(form)
        forget()
        add_rules({"kind": "tag", "tag": "tenant"})
        bill = deliver(file, name=f"again.{form}")
        assert bill.state == "imported", bill.report
        assert sums("tenant__key") == before and statement_total() == total

    def test_an_account_exports_its_own_only(self) -> None:
        here = factories.make_account("here", cloud="aws", external_id="sub-1")
        deliver(as_csv([*lines("3"), *lines("500", SubAccountId="sub-2")]))
        text = exported("csv", "account", here).decode()
        assert "sub-2" not in text and "500" not in text and ",sub-1," in text

    def test_no_bill_no_file(self) -> None:
        assert client().get(reverse("cost:focus")).status_code == 404
