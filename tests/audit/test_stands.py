"""The database refuses to change or delete what was recorded, whoever asks and by whichever way."""

from __future__ import annotations

import psycopg
import pytest
from django.db import ProgrammingError, connection, models, transaction

from apps.audit import sealing
from apps.audit.models import AuditEntry, AuditSeal
from tests import factories

WRITES = [
    "UPDATE {table} SET {column} = {column}",
    "DELETE FROM {table}",
    "TRUNCATE {table} CASCADE",
]
TABLES = [("audit_auditentry", "reason"), ("audit_auditseal", "hash")]


def refused(sql: str) -> None:
    with (
        pytest.raises(ProgrammingError, match="only ever added to"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a TRUNCATE is refused for pending checks otherwise
        cursor.execute(sql)


@pytest.mark.django_db
@pytest.mark.parametrize("write", WRITES, ids=lambda sql: sql.split()[0].lower())
@pytest.mark.parametrize(("table", "column"), TABLES, ids=["entries", "seals"])
def test_sql_is_refused_even_to_the_tables_owner_and_superuser(write: str, table: str, column: str) -> None:
    factories.make_tenant()
    sealing.seal()
    before = AuditEntry.objects.count(), AuditSeal.objects.count()
    assert all(before)
    refused(write.format(table=table, column=column))
    assert (AuditEntry.objects.count(), AuditSeal.objects.count()) == before


@pytest.mark.django_db
@pytest.mark.parametrize(("model", "column"), [(AuditEntry, "reason"), (AuditSeal, "hash")])
def test_the_orm_is_refused_where_it_goes_past_our_own_guards(model: type[models.Model], column: str) -> None:
    """As a migration would, with a model that has none of our methods."""
    factories.make_tenant()
    sealing.seal()
    plain = models.QuerySet(model)
    for write in (lambda: plain._raw_delete("default"), lambda: plain.update(**{column: models.F(column)})):
        with pytest.raises(ProgrammingError, match="only ever added to"), transaction.atomic():
            write()


@pytest.mark.django_db
def test_a_seal_is_never_saved_again() -> None:
    factories.make_tenant()
    (seal,) = sealing.seal()
    with pytest.raises(TypeError):
        seal.save()
    with pytest.raises(TypeError):
        seal.delete()


@pytest.mark.django_db(transaction=True)
def test_a_role_that_only_may_what_the_portal_needs_cannot_even_put_the_triggers_aside() -> None:
    """The grants that `manage.py audit grants` prints, given to a role that is neither owner nor superuser."""
    from apps.audit.roles import grants_for

    factories.make_tenant()
    sealing.seal()
    with connection.cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS trail_test_portal")
        cursor.execute("CREATE ROLE trail_test_portal LOGIN")
        cursor.execute(grants_for("trail_test_portal"))
    try:
        settings = connection.settings_dict
        address = {"host": settings["HOST"], "port": settings["PORT"], "dbname": settings["NAME"]}
        with psycopg.connect(**address, user="trail_test_portal", autocommit=True) as portal:
            assert portal.execute("SELECT count(*) FROM audit_auditentry").fetchone()[0] > 0
            portal.execute("UPDATE tenants_tenant SET notes = 'x'")
            for statement in (
                "UPDATE audit_auditentry SET reason = ''",
                "DELETE FROM audit_auditentry",
                "TRUNCATE audit_auditentry",
                "DELETE FROM audit_auditseal",
                "SET session_replication_role = replica",
                "ALTER TABLE audit_auditentry DISABLE TRIGGER ALL",
                "DROP TABLE audit_auditseal",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    portal.execute(statement)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP OWNED BY trail_test_portal")
            cursor.execute("DROP ROLE trail_test_portal")
