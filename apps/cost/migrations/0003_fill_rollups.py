from django.db import migrations

FILL = """
INSERT INTO cost_monthlycost (run_id, account_id, sub_account_id, service, rule_id, currency, tenant_id, billed, effective, listed, lines)
SELECT run_id, account_id, sub_account_id, service, rule_id, currency, tenant_id, sum(billed), sum(effective), sum(listed), sum(lines)
FROM cost_dailycost GROUP BY 1, 2, 3, 4, 5, 6, 7;
INSERT INTO cost_daycost (run_id, account_id, sub_account_id, service, rule_id, currency, day, to_tenants, billed, effective, listed, lines)
SELECT run_id, account_id, sub_account_id, d.service, d.rule_id, currency, day, d.tenant_id IS NOT NULL, sum(billed), sum(effective), sum(listed),
       CASE WHEN r.kind IN ('evenly', 'shares', 'usage') THEN max(lines) ELSE sum(lines) END
FROM cost_dailycost d LEFT JOIN cost_rule r ON r.id = d.rule_id GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, r.kind;
"""
EMPTY = "TRUNCATE cost_monthlycost, cost_daycost"


class Migration(migrations.Migration):
    """Sums of the facts that are there; one pass each."""

    dependencies = [("cost", "0002_rollups")]
    operations = [migrations.RunSQL(FILL, EMPTY)]
