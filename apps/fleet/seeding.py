"""A simulated fleet of any size, made set-wise in the database: for benches, drills and screenshots.

Every row it makes is in the audit trail, written by the same kind of statement.
"""

from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction

from apps.access.models import User
from apps.core.context import acting
from apps.core.events import event, record

from .models import Instance

CELL_SIZE = 2_000

# %(first)s is the number of seeded instances there are already, so that a second run adds to the first.
STATEMENTS = (
    """INSERT INTO tenants_plan (name, rank, monthly_price, currency, is_dedicated, created_at, updated_at)
       SELECT n, r, p, 'EUR', r > 2, now(), now()
       FROM (VALUES ('Starter', 1, 49), ('Team', 2, 290), ('Scale', 3, 1900), ('Enterprise', 4, 6200)) AS v(n, r, p)
       ON CONFLICT DO NOTHING""",
    """INSERT INTO accounts_account (name, cloud, owner, external_id, contact, notes, created_at, updated_at)
       SELECT 'sim-account-' || a, 'simulated', CASE WHEN a %% 5 = 4 THEN 'customer' ELSE 'provider' END, 'sim-' || a, '', '', now(), now()
       FROM generate_series(0, 9) a ON CONFLICT DO NOTHING""",
    """INSERT INTO accounts_region (account_id, code, name, jurisdiction, created_at, updated_at)
       SELECT a.id, 'sim-region-1', '', 'EU', now(), now() FROM accounts_account a WHERE a.name LIKE 'sim-account-%%'
       ON CONFLICT DO NOTHING""",
    """INSERT INTO fleet_cell (region_id, name, provider, capacity, locked_reason, created_at, updated_at)
       SELECT r.id, 'sim-cell-' || c, 'simulated', %(cell)s, '', now(), now()
       FROM generate_series(0, (%(first)s + %(count)s - 1) / %(cell)s) c
       JOIN accounts_account a ON a.name = 'sim-account-' || (c %% 10) JOIN accounts_region r ON r.account_id = a.id
       ON CONFLICT DO NOTHING""",
    """CREATE TEMP TABLE new_tenants ON COMMIT DROP AS
       WITH made AS (
         INSERT INTO tenants_tenant (key, name, state, zone, notes, created_at, updated_at)
         SELECT 'sim-' || t, initcap(w1.w) || ' ' || initcap(w2.w) || ' ' || t, 'active', 'UTC', '', now(), now()
         FROM generate_series(%(first_tenant)s, %(first_tenant)s + %(tenants)s - 1) t
         JOIN unnest(%(words)s::text[]) WITH ORDINALITY w1(w, n) ON w1.n = 1 + t %% %(word_count)s
         JOIN unnest(%(words)s::text[]) WITH ORDINALITY w2(w, n) ON w2.n = 1 + (t / %(word_count)s) %% %(word_count)s
         RETURNING id, key, name)
       SELECT id, key, name, substr(key, 5)::int AS n FROM made""",
    """CREATE TEMP TABLE new_instances ON COMMIT DROP AS
       WITH made AS (
         INSERT INTO fleet_instance (name, cell_id, kind, locked_reason, wanted, wanted_version, health, health_detail,
                                     health_since, version, generation, endpoint, observed_at, created_at, updated_at)
         SELECT 'sim-i-' || i, c.id, CASE WHEN i %% 10 < 7 THEN 'dedicated' ELSE 'shared' END, '', 'running',
                CASE WHEN i %% 20 = 0 THEN '4.12.2' ELSE '4.12.3' END,
                CASE WHEN i %% 997 = 0 THEN 'failing' WHEN i %% 499 = 0 THEN 'degraded' ELSE 'well' END,
                CASE WHEN i %% 997 = 0 THEN 'ordered fault: unhealthy' ELSE '' END,
                now() - make_interval(secs => i %% 86400), CASE WHEN i %% 20 = 0 THEN '4.12.2' ELSE '4.12.3' END,
                1, '', now(), now(), now()
         FROM generate_series(%(first)s, %(first)s + %(count)s - 1) i
         JOIN fleet_cell c ON c.name = 'sim-cell-' || (i / %(cell)s)
         RETURNING id, name, version, health)
       SELECT id, name, version, health, substr(name, 7)::int AS n FROM made""",
    "CREATE INDEX ON new_tenants (n)",
    """INSERT INTO fleet_simulatedinstance (instance_id, state, version, generation, ready_at, effects, crash_on_version, fault, fault_value)
       SELECT id, 'running', version, 1, NULL, 0, '', CASE health WHEN 'failing' THEN 'unhealthy' ELSE 'none' END, 0 FROM new_instances""",
    """INSERT INTO fleet_placement (tenant_id, instance_id, since, created_at, updated_at)
       SELECT t.id, i.id, now(), now(), now() FROM new_instances i
       JOIN new_tenants t ON t.n = %(first_tenant)s + (i.n - %(first)s) %% %(tenants)s""",
    """INSERT INTO tenants_subscription (tenant_id, plan_id, seats, monthly_price, currency, starts_on, created_at, updated_at)
       SELECT t.id, p.id, 5 + t.n %% 40, p.monthly_price, 'EUR', DATE '2025-01-01' + t.n %% 600, now(), now()
       FROM new_tenants t JOIN tenants_plan p ON p.rank = 1 + t.n %% 4""",
    """INSERT INTO tenants_domain (tenant_id, name, is_primary, created_at, updated_at)
       SELECT id, key || '.example', true, now(), now() FROM new_tenants""",
    """INSERT INTO tenants_contact (tenant_id, name, email, role, created_at, updated_at)
       SELECT id, name || ' operations', 'ops@' || key || '.example', 'technical', now(), now() FROM new_tenants""",
    """INSERT INTO tenants_externalid (tenant_id, system, value, created_at, updated_at)
       SELECT id, 'crm', 'CRM-' || key, now(), now() FROM new_tenants""",
)

AUDIT = """INSERT INTO audit_auditentry (content_type_id, object_pk, object_id, object_repr, action, changes_text, changes,
                                         actor_id, timestamp, reason, via)
           SELECT %(content_type)s, id::text, id, name, 0, '', jsonb_build_object('name', jsonb_build_array('None', name)),
                  %(actor)s, now(), 'seeded', 'command' FROM {table}"""

TABLES = (
    "accounts_account accounts_region fleet_cell fleet_instance fleet_placement fleet_simulatedinstance tenants_tenant "
    "tenants_subscription tenants_domain tenants_contact tenants_externalid audit_auditentry"
).split()
WORDS = (
    "amber atlas birch blue cedar copper coral delta ember falcon fjord forest garnet harbor indigo iron ivory juniper "
    "lunar maple marble meadow nova oak olive onyx opal orchid pearl pine polar quartz raven river ruby sage solar "
    "spruce sterling summit teal tidal topaz vega velvet violet willow zephyr"
).split()


def seed(*, instances: int, tenants: int, actor: User) -> None:
    """Add simulated instances and tenants, placed evenly; in one transaction.

    Raises ValueError for numbers below 1.
    """
    if instances < 1 or tenants < 1:
        raise ValueError("Seed at least one instance and one tenant.")
    with (
        transaction.atomic(durable=True),
        acting(actor, reason="seeded", via="command"),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT count(*) FROM fleet_instance WHERE name LIKE 'sim-i-%%'")
        first = cursor.fetchone()[0]
        cursor.execute("SELECT count(*) FROM tenants_tenant WHERE key LIKE 'sim-%%'")
        values = {
            "first": first,
            "count": instances,
            "first_tenant": cursor.fetchone()[0],
            "tenants": tenants,
            "cell": CELL_SIZE,
            "words": WORDS,
            "word_count": len(WORDS),
        }
        for statement in STATEMENTS:
            cursor.execute(statement, values)
        for table, label in (("new_instances", "fleet.instance"), ("new_tenants", "tenants.tenant")):
            content_type = ContentType.objects.get_by_natural_key(*label.split("."))
            cursor.execute(AUDIT.format(table=table), {"content_type": content_type.pk, "actor": actor.pk})
        record([event("fleet.seeded", f"{instances:,} simulated instances were seeded")])
    # The visibility map too: without it a grouped count reads every row instead of the index.
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM (ANALYZE) {', '.join(TABLES)}")


def seeded() -> int:
    """How many seeded instances there are."""
    return Instance.objects.filter(name__startswith="sim-i-").count()
