"""All that scopes hold of what limits of the blast radius count: one statement, however many limits there are."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from django.db import connection
from django.utils import timezone

from .choices import Measure, PolicyScope
from .models import BlastPolicy

#: (scope, id of the object, measure, currency).
Key = tuple[str, int, str, str]

#: `places`: the cells of each account, region and cell that is asked about; `served`: the tenants there, once a scope.
#: `on_plan`: the tenants of each plan, and where they are. `paying`: what is paid for today.
BASE = """
WITH asked AS (
    SELECT * FROM unnest(%(scopes)s::text[], %(objects)s::bigint[]) AS a(scope, object_id)
), paying AS (
    SELECT tenant_id, plan_id, currency, monthly_price FROM tenants_subscription
     WHERE starts_on <= %(today)s AND (ends_on IS NULL OR ends_on >= %(today)s)
), places AS (
    SELECT a.scope, a.object_id, c.id AS cell_id FROM asked a
      JOIN accounts_region r ON a.scope = 'account' AND r.account_id = a.object_id JOIN fleet_cell c ON c.region_id = r.id
     UNION ALL
    SELECT a.scope, a.object_id, c.id FROM asked a JOIN fleet_cell c ON a.scope = 'region' AND c.region_id = a.object_id
     UNION ALL
    SELECT a.scope, a.object_id, a.object_id FROM asked a WHERE a.scope = 'cell'
), served AS (
    SELECT DISTINCT n.scope, n.object_id, p.tenant_id
      FROM places n JOIN fleet_instance i ON i.cell_id = n.cell_id JOIN fleet_placement p ON p.instance_id = i.id
), on_plan AS (
    SELECT DISTINCT a.object_id, p.tenant_id, i.id AS instance_id, i.cell_id
      FROM asked a JOIN paying s ON a.scope = 'plan' AND s.plan_id = a.object_id
      JOIN fleet_placement p ON p.tenant_id = s.tenant_id JOIN fleet_instance i ON i.id = p.instance_id
)
"""
#: What is counted in the fleet, in places (accounts, regions, cells) and of plans, by measure.
FLEET = {
    Measure.INSTANCES: "SELECT 'fleet', 0::bigint, '', count(*)::numeric FROM fleet_instance",
    Measure.CELLS: "SELECT 'fleet', 0::bigint, '', count(DISTINCT cell_id)::numeric FROM fleet_instance",
    Measure.TENANTS: "SELECT 'fleet', 0::bigint, '', count(DISTINCT tenant_id)::numeric FROM fleet_placement",
    Measure.REVENUE: "SELECT 'fleet', 0::bigint, s.currency, sum(s.monthly_price) FROM paying s "
    "WHERE EXISTS (SELECT 1 FROM fleet_placement p WHERE p.tenant_id = s.tenant_id) GROUP BY 3",
}
PLACES = {
    Measure.INSTANCES: "SELECT n.scope, n.object_id, '', count(*)::numeric "
    "FROM places n JOIN fleet_instance i ON i.cell_id = n.cell_id GROUP BY 1, 2",
    Measure.CELLS: "SELECT n.scope, n.object_id, '', count(*)::numeric FROM places n "
    "WHERE EXISTS (SELECT 1 FROM fleet_instance i WHERE i.cell_id = n.cell_id) GROUP BY 1, 2",
    Measure.TENANTS: "SELECT scope, object_id, '', count(*)::numeric FROM served GROUP BY 1, 2",
    Measure.REVENUE: "SELECT v.scope, v.object_id, s.currency, sum(s.monthly_price) "
    "FROM served v JOIN paying s ON s.tenant_id = v.tenant_id GROUP BY 1, 2, 3",
}
PLANS = {
    Measure.INSTANCES: "SELECT 'plan', object_id, '', count(DISTINCT instance_id)::numeric FROM on_plan GROUP BY 2",
    Measure.CELLS: "SELECT 'plan', object_id, '', count(DISTINCT cell_id)::numeric FROM on_plan GROUP BY 2",
    Measure.TENANTS: "SELECT 'plan', object_id, '', count(DISTINCT tenant_id)::numeric FROM on_plan GROUP BY 2",
    Measure.REVENUE: "SELECT 'plan', v.object_id, s.currency, sum(s.monthly_price) "
    "FROM (SELECT DISTINCT object_id, tenant_id FROM on_plan) v JOIN paying s ON s.tenant_id = v.tenant_id GROUP BY 2, 3",
}
COUNTED = {PolicyScope.FLEET: FLEET, PolicyScope.PLAN: PLANS}


def key_of(policy: BlastPolicy) -> Key:
    """What a policy limits."""
    return policy.scope, policy.object_id, policy.measure, policy.currency


def totals_of(policies: Iterable[BlastPolicy]) -> dict[Key, Decimal]:
    """All that the scope of each policy holds of what it counts; what is not there holds nothing. One statement."""
    keys = [key_of(policy) for policy in policies]
    if not keys:
        return {}
    scopes = dict.fromkeys((scope, object_id) for scope, object_id, _, _ in keys)
    values: dict[str, Any] = {
        "scopes": [scope for scope, _ in scopes],
        "objects": [object_id for _, object_id in scopes],
        "today": timezone.localdate(),
    }
    parts = {
        (measure, COUNTED.get(PolicyScope(scope), PLACES)[Measure(measure)]): None
        for scope, _, measure, _ in keys
    }
    counted = " UNION ALL ".join(f"SELECT '{measure}', c.* FROM ({part}) c" for measure, part in parts)  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(BASE + counted, values)
        return {(scope, pk, measure, currency): total for measure, scope, pk, currency, total in cursor}
