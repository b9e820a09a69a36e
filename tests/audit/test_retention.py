"""Retention: months go as a whole, archived and signed for; what is left, what went, and both together still prove themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection, transaction

from apps.audit import canonical, checking, outside, partitions, retiring, sealing
from apps.audit.models import AuditEntry, AuditRetirement, AuditSeal, AuditStream
from apps.audit.roles import grants_for, weaknesses
from tests import factories
from tests.audit.tampering import superuser
from tests.audit.test_seals import record

LATER = datetime(2028, 6, 15, tzinfo=UTC)
BEFORE = date(2027, 3, 1)


def at_once() -> None:
    """As if each insert had been committed: a partition with checks that wait is not dropped."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


@pytest.fixture
def trail(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forty entries over months, in seals of ten that end where no month does; told on 15 June 2028."""
    monkeypatch.setattr(sealing, "LARGEST", 10)
    partitions.make_months(date(2027, 11, 1), ahead=9)
    with time_machine.travel(datetime(2027, 1, 5, tzinfo=UTC)) as clock:
        record(14 - AuditEntry.objects.count() % 10)
        clock.move_to(datetime(2027, 2, 5, tzinfo=UTC))
        record(9)
        clock.move_to(datetime(2027, 3, 5, tzinfo=UTC))
        record(17)
        clock.move_to(LATER)
        sealing.seal()
        at_once()
        yield


def found() -> str:
    verdict = checking.verify_stored()
    assert verdict.broken is not None, "nothing was found"
    return str(verdict.broken)


def old() -> int:
    return AuditEntry.objects.filter(timestamp__lt=datetime(2027, 3, 1, tzinfo=UTC)).count()


def go(folder: Path, before: date = BEFORE) -> AuditRetirement:
    made = retiring.retire(retiring.plan(before), folder)
    at_once()
    return made


class TestLettingGo:
    def test_the_rest_verifies_and_so_does_the_archive(self, trail: None, tmp_path: Path) -> None:
        before, went = AuditEntry.objects.count(), old()
        assert went
        made = go(tmp_path / "a")
        assert (old(), AuditEntry.objects.count()) == (0, before - went + 1)
        assert made.header["entries"] == went
        assert 0 < len(made.header["gone"]) < 10, "a seal does not end where a month does"
        verdict = checking.verify_stored()
        assert (verdict.broken, verdict.entries) == (None, before - went)
        archive = outside.verify_export(tmp_path / "a")
        assert archive.holds
        assert archive.entries >= went
        told = AuditEntry.objects.latest("pk")
        assert (told.event, told.actor.username) == ("retention", "system:command")

    def test_both_together_are_the_whole_trail(self, trail: None, tmp_path: Path) -> None:
        before = AuditEntry.objects.count()
        go(tmp_path / "a")
        verdict = checking.verify_stored(archives=[tmp_path / "a"])
        assert (verdict.broken, verdict.entries + verdict.unsealed) == (None, before + 1)
        from apps.audit import exporting

        sealing.seal()
        exporting.export(tmp_path / "rest")
        assert outside.main([str(tmp_path / "rest")]) == 0
        assert outside.main([str(tmp_path / "rest"), "--archive", str(tmp_path / "a")]) == 0

    def test_again_some_months_later(self, trail: None, tmp_path: Path) -> None:
        go(tmp_path / "a", date(2027, 2, 1))
        second = go(tmp_path / "b")
        assert second.header["number"] == 2
        assert checking.verify_stored().holds
        assert all(outside.verify_export(tmp_path / name).holds for name in "ab")
        assert checking.verify_stored(archives=[tmp_path / "a", tmp_path / "b"]).holds
        assert "deleted" in str(checking.verify_stored(archives=[tmp_path / "b"]).broken)

    def test_it_goes_on_growing_and_sealing(self, trail: None, tmp_path: Path) -> None:
        go(tmp_path / "a")
        record(12)
        sealing.seal()
        verdict = checking.verify_stored()
        assert (verdict.broken, verdict.unsealed) == (None, 0)

    def test_the_seals_stay_and_prove_the_archive(self, trail: None, tmp_path: Path) -> None:
        seals = AuditSeal.objects.count()
        go(tmp_path / "a")
        assert AuditSeal.objects.count() == seals


class TestTampering:
    """By the database's superuser, after entries were let go."""

    def test_more_is_deleted(self, trail: None, tmp_path: Path) -> None:
        go(tmp_path / "a")
        victim = AuditEntry.objects.order_by("pk").first().pk
        with superuser() as cursor:
            cursor.execute("DELETE FROM audit_auditentry WHERE id = %s", [victim])
        assert found().startswith(f"entry {victim}: deleted")

    @pytest.mark.parametrize(
        "change",
        [
            "header = jsonb_set(header, '{seal}', '99')",
            "header = jsonb_set(header, '{gone}', (header->'gone') || '[999999]')",
            "header = jsonb_set(header, '{archive}', '\"x\"')",
            "hash = repeat('0', 64)",
            "signature = decode(repeat('00', 64), 'hex')",
        ],
    )
    def test_the_checkpoint_is_changed(self, trail: None, tmp_path: Path, change: str) -> None:
        go(tmp_path / "a")
        with superuser() as cursor:
            cursor.execute(f"UPDATE audit_auditretirement SET {change}")
        assert "retention checkpoint #1" in found()

    def test_the_checkpoint_is_deleted(self, trail: None, tmp_path: Path) -> None:
        first = AuditEntry.objects.order_by("pk").first().pk
        go(tmp_path / "a")
        with superuser() as cursor:
            cursor.execute("DELETE FROM audit_auditretirement")
        assert found().startswith(f"entry {first}: deleted")

    def test_one_that_was_let_go_is_put_back_changed(self, trail: None, tmp_path: Path) -> None:
        first = AuditEntry.objects.order_by("pk").first().pk
        go(tmp_path / "a")
        with superuser() as cursor:
            cursor.execute(
                "UPDATE audit_auditentry SET id = %s WHERE id = (SELECT max(id) FROM audit_auditentry)",
                [first],
            )
        assert found().startswith(f"entry {first}: inserted")

    def test_the_archive_is_changed(self, trail: None, tmp_path: Path, capsys: Any) -> None:
        go(tmp_path / "a")
        path = tmp_path / "a" / outside.ENTRIES
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(
            b"".join([*lines[:3], lines[3].replace(b"for the seal", b"for the seaL"), *lines[4:]])
        )
        assert outside.main([str(tmp_path / "a")]) == 1
        assert f"entry {json.loads(lines[3])['id']}: changed" in capsys.readouterr().out
        assert "changed" in str(checking.verify_stored(archives=[tmp_path / "a"]).broken)

    def test_a_checkpoint_kept_elsewhere_still_counts(self, trail: None, tmp_path: Path) -> None:
        made = go(tmp_path / "a")
        assert "retention" in str(checking.verify_stored({made.header["seal"]: "0" * 64}).broken)


class TestRefusing:
    def plan(self, before: date = BEFORE) -> retiring.Plan:
        return retiring.plan(before)

    def test_too_young(self, trail: None) -> None:
        with pytest.raises(retiring.NotRetired, match="AUDIT_RETENTION_DAYS"):
            self.plan(date(2028, 1, 1))

    def test_not_the_first_of_a_month(self, trail: None) -> None:
        with pytest.raises(retiring.NotRetired, match="first of a month"):
            self.plan(date(2027, 3, 2))

    def test_nothing_that_old(self, trail: None) -> None:
        with pytest.raises(retiring.NotRetired, match="holds an entry"):
            self.plan(date(2026, 1, 1))

    def test_not_sealed(self, db: None) -> None:
        partitions.make_months(date(2027, 1, 1))
        with time_machine.travel(datetime(2027, 1, 5, tzinfo=UTC)) as clock:
            record(3)
            clock.move_to(LATER)
            with pytest.raises(retiring.NotRetired, match="audit seal"):
                self.plan()

    def test_a_stream_that_has_not_got_them(self, trail: None) -> None:
        with factories.as_system():
            stream = AuditStream.objects.create(name="siem", kind="syslog", url="syslog://siem.example:514")
        with pytest.raises(retiring.NotRetired, match="siem has not got entry"):
            self.plan()
        AuditStream.objects.filter(pk=stream.pk).unrecorded_update(sent_to=2**40)
        assert self.plan().entries

    def test_a_chain_that_is_broken_goes_nowhere(self, trail: None, tmp_path: Path) -> None:
        victim = AuditEntry.objects.order_by("pk")[2].pk
        with superuser() as cursor:
            cursor.execute("UPDATE audit_auditentry SET reason = 'x' WHERE id = %s", [victim])
        count = AuditEntry.objects.count()
        with pytest.raises(retiring.NotRetired, match=f"does not verify: BROKEN at entry {victim}"):
            go(tmp_path / "a")
        assert (AuditEntry.objects.count(), AuditRetirement.objects.count()) == (count, 0)

    def test_the_command_looks_first_and_writes_over_nothing(self, trail: None, tmp_path: Path) -> None:
        count, out = AuditEntry.objects.count(), StringIO()
        call_command("audit", "retire", "--before", "2027-03-01", stdout=out)
        assert "Nothing was let go" in out.getvalue()
        assert AuditEntry.objects.count() == count
        with pytest.raises(CommandError, match="--archive FOLDER"):
            call_command("audit", "retire", "--before", "2027-03-01", "--really")
        with pytest.raises(CommandError, match="there already"):
            call_command("audit", "retire", "--before", "2027-03-01", "--archive", str(tmp_path), "--really")
        assert AuditEntry.objects.count() == count
        call_command(
            "audit",
            "retire",
            "--before",
            "2027-03-01",
            "--archive",
            str(tmp_path / "a"),
            "--really",
            stdout=out,
        )
        at_once()
        assert "Let go" in out.getvalue()
        call_command("audit", "verify", stdout=out)
        call_command("audit", "verify", "--archive", str(tmp_path / "a"), stdout=out)
        call_command("audit", "verify", "--export", str(tmp_path / "a"), stdout=out)
        assert out.getvalue().count("WHOLE") == 3


class TestStanding:
    @pytest.mark.parametrize(
        "sql",
        [
            "UPDATE audit_auditretirement SET hash = hash", "DELETE FROM audit_auditretirement",
            "TRUNCATE audit_auditretirement", "DELETE FROM audit_auditentry_2027_01", "TRUNCATE audit_auditentry_2027_01",
            "UPDATE audit_auditentry_2027_02 SET via = via", "TRUNCATE audit_auditentry_first", "TRUNCATE audit_auditentry_default",
        ],
    )  # fmt: skip
    def test_the_triggers_are_on_each_partition(self, trail: None, tmp_path: Path, sql: str) -> None:
        if "retirement" in sql:
            go(tmp_path / "a", date(2027, 2, 1))
        with (
            pytest.raises(ProgrammingError, match="only ever added to"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(sql)

    @pytest.mark.django_db(transaction=True)
    def test_the_portals_own_role_lets_nothing_go(self) -> None:
        factories.make_tenant()
        with connection.cursor() as cursor:
            cursor.execute("DROP ROLE IF EXISTS trail_test_portal")
            cursor.execute("CREATE ROLE trail_test_portal LOGIN")
            cursor.execute(grants_for("trail_test_portal"))
        try:
            place = connection.settings_dict
            address = {"host": place["HOST"], "port": place["PORT"], "dbname": place["NAME"]}
            months = [one.name for one in partitions.partitions()]
            with psycopg.connect(**address, user="trail_test_portal", autocommit=True) as portal:
                for sql in (
                    *[f"DELETE FROM {name}" for name in months], *[f"DROP TABLE {name}" for name in months],
                    f"ALTER TABLE audit_auditentry DETACH PARTITION {months[0]}", "DELETE FROM audit_auditretirement",
                ):  # fmt: skip
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        portal.execute(sql)
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL ROLE trail_test_portal")
                assert weaknesses() == []
                with pytest.raises(retiring.NotRetired, match="takes the owner"):
                    retiring.plan(BEFORE)
                factories.make_tenant("made-by-the-portal")  # which goes on writing all the same
                assert partitions.keep_ahead() == []
        finally:
            with connection.cursor() as cursor:
                cursor.execute("DROP OWNED BY trail_test_portal")
                cursor.execute("DROP ROLE trail_test_portal")


class TestTheMigration:
    """A trail as it was before there were months, beside the real one: what comes of it when the migration meets it."""

    OLD = """
        CREATE SCHEMA before;
        SET LOCAL search_path TO before, public;
        CREATE TABLE before.audit_auditentry (LIKE public.audit_auditentry INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
        ALTER TABLE before.audit_auditentry ALTER id DROP DEFAULT;
        ALTER TABLE before.audit_auditentry ALTER id ADD GENERATED BY DEFAULT AS IDENTITY;
        ALTER TABLE before.audit_auditentry ADD PRIMARY KEY (id);
        ALTER TABLE before.audit_auditentry ADD CONSTRAINT old_actor FOREIGN KEY (actor_id) REFERENCES access_user DEFERRABLE INITIALLY DEFERRED;
        CREATE INDEX audit_actor ON before.audit_auditentry (actor_id, timestamp DESC);
        CREATE TRIGGER audit_entry_stands BEFORE UPDATE OR DELETE ON before.audit_auditentry FOR EACH ROW EXECUTE FUNCTION audit_stands();
        CREATE TRIGGER audit_entry_not_emptied BEFORE TRUNCATE ON before.audit_auditentry FOR EACH STATEMENT EXECUTE FUNCTION audit_stands();
        GRANT SELECT, INSERT ON before.audit_auditentry TO PUBLIC;
        INSERT INTO before.audit_auditentry SELECT * FROM public.audit_auditentry;
        SELECT setval(pg_get_serial_sequence('before.audit_auditentry', 'id'), (SELECT max(id) + 5 FROM before.audit_auditentry));
        SET CONSTRAINTS ALL IMMEDIATE;
    """

    def test_nothing_changes_but_the_shape(self, db: None) -> None:
        from importlib import import_module

        forward = import_module("apps.audit.migrations.0007_months").FORWARD
        record(30)
        columns = ", ".join(column for _, column in sorted(canonical.FIELDS.items()))
        lines = f"SELECT md5(string_agg(ROW({columns})::text, '' ORDER BY id)), max(id), count(*) FROM before.audit_auditentry"
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(self.OLD)
            cursor.execute(lines)
            before = cursor.fetchone()
            cursor.execute(forward.replace("{until}", "2031-01-01"))
            cursor.execute(lines)
            assert cursor.fetchone() == before
            cursor.execute("SELECT relname FROM pg_class WHERE oid = 'before.audit_actor_first'::regclass")
            assert cursor.fetchone(), "the index was kept, under another name"
            cursor.execute(
                "SELECT count(*) FROM pg_inherits WHERE inhparent = 'before.audit_actor'::regclass"
            )
            assert cursor.fetchone()[0] == 2, "and is part of the new one, beside the default partition's"
            cursor.execute("SELECT nextval(pg_get_serial_sequence('before.audit_auditentry', 'id'))")
            assert cursor.fetchone()[0] == before[1] + 6, "no id is drawn twice"
            cursor.execute(
                "SELECT has_table_privilege('public', 'before.audit_auditentry', 'INSERT'), has_table_privilege('public', 'before.audit_auditentry', 'DELETE')"
            )
            assert cursor.fetchone() == (True, False)
            cursor.execute(
                "SELECT count(*) FROM pg_constraint WHERE conrelid = 'before.audit_auditentry'::regclass AND contype = 'f'"
            )
            assert cursor.fetchone()[0] == 1
            for sql in (
                "DELETE FROM before.audit_auditentry",
                "TRUNCATE before.audit_auditentry",
                "TRUNCATE before.audit_auditentry_first",
            ):
                with pytest.raises(ProgrammingError, match="only ever added to"), transaction.atomic():
                    cursor.execute(sql)
            transaction.set_rollback(True)


class TestMonths:
    def test_they_are_made_ahead_and_once(self, db: None) -> None:
        there = partitions.partitions()
        assert there[0].name == partitions.FIRST
        assert there[-1].until is None
        assert partitions.months_left(datetime.now(UTC).date()) >= 11
        assert partitions.make_months(date(2030, 1, 1), ahead=1) == [
            "audit_auditentry_2030_01",
            "audit_auditentry_2030_02",
        ]
        assert partitions.make_months(date(2030, 1, 1), ahead=1) == []

    def test_what_no_month_was_made_for_is_kept_all_the_same(self, db: None) -> None:
        with time_machine.travel(datetime(2031, 5, 5, tzinfo=UTC)):
            record(3)
            sealing.seal()
            assert checking.verify_stored().holds
        assert "audit_auditentry_2031_05" not in partitions.make_months(date(2031, 5, 1), ahead=0)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM audit_auditentry_default")
            assert cursor.fetchone()[0] >= 3

    def test_ids_go_on_and_are_drawn_from_one_place(self, db: None) -> None:
        record(2)
        one, other = AuditEntry.objects.order_by("-pk")[:2]
        assert one.pk == other.pk + 1
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_get_serial_sequence('audit_auditentry', 'id')")
            assert cursor.fetchone()[0].endswith("audit_auditentry_id_seq")
