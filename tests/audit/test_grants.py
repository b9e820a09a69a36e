"""The portal's own role may do all that the portal needs: on every table and sequence that there is, newer ones too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.apps import apps
from django.db import connection

from apps.audit.partitions import partitions
from apps.audit.roles import KEPT, grants_for

ROLE = "grants_test_portal"
NEEDED = ("SELECT", "INSERT", "UPDATE", "DELETE")
#: Every table, partition and view of ours, with what the role holds on it.
HELD = """
    SELECT c.relname, array(SELECT p FROM unnest(%s::text[]) p WHERE has_table_privilege(%s, c.oid, p))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm')
"""
SEQUENCES = """
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND CASE WHEN c.relkind = 'S' THEN NOT has_sequence_privilege(%s, c.oid, 'USAGE') END
"""


@pytest.fixture
def held(transactional_db: None) -> Iterator[dict[str, set[str]]]:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP ROLE IF EXISTS {ROLE}")
        cursor.execute(f"CREATE ROLE {ROLE}")
        cursor.execute(grants_for(ROLE))
        cursor.execute(HELD, [[*NEEDED, "TRUNCATE", "TRIGGER", "REFERENCES"], ROLE])
        yield {name: set(rights) for name, rights in cursor.fetchall()}
        cursor.execute(f"DROP OWNED BY {ROLE}")
        cursor.execute(f"DROP ROLE {ROLE}")


def test_every_table_is_covered_and_only_the_trail_is_narrower(held: dict[str, set[str]]) -> None:
    trail = {*KEPT, *(one.name for one in partitions())}
    assert {
        name: rights for name, rights in held.items() if name not in trail and rights != set(NEEDED)
    } == {}
    assert {name: held[name] for name in trail} == {name: {"SELECT", "INSERT"} for name in trail}


def test_every_model_has_a_table_that_is_covered(held: dict[str, set[str]]) -> None:
    """Among them what was added last; the role's grants name no table, so that none is forgotten."""
    tables = {m._meta.db_table for m in apps.get_models(include_auto_created=True) if m._meta.managed}
    assert tables - set(held) == set()
    assert {"fleet_probe", "core_event_default", "fleet_measurement_default"} <= set(held)


def test_every_sequence_may_be_used(held: dict[str, set[str]]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(SEQUENCES, [ROLE])
        assert cursor.fetchall() == []


def test_what_is_made_ahead_by_the_owner_is_reached_through_its_parent(held: dict[str, set[str]]) -> None:
    """A month or day that the owner makes later needs no grant: rows go in and out by the partitioned table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE core_event_2044_01 PARTITION OF core_event FOR VALUES FROM ('2044-01-01') TO ('2044-02-01')"
        )
        try:
            cursor.execute(f"SET ROLE {ROLE}")
            cursor.execute(
                "INSERT INTO core_event (at, kind, tone, title, why, actor_id) VALUES ('2044-01-05', 'x.y', 'plain', 'x', '', 1)"
            )
            cursor.execute("DELETE FROM core_event WHERE at >= '2044-01-01'")
            assert cursor.rowcount == 1
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute("DROP TABLE core_event_2044_01")
