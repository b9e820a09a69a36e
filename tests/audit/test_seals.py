"""What is sealed, that nothing is skipped however transactions overlap, and that whatever is tampered with is named."""

from __future__ import annotations

import json
import random
import threading
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from apps.audit import checking, keys, outside, sealing, signing
from apps.audit.canonical import LEAF, hash_of
from apps.audit.models import AuditEntry, AuditSeal
from apps.core.context import acting
from apps.tenants.models import Tenant
from tests import factories
from tests.audit.tampering import superuser


def record(count: int) -> None:
    with factories.as_system("for the seal"):
        Tenant.objects.bulk_create(
            [Tenant(key=f"t-{n}-{random.random()}", name="Näme ✓") for n in range(count)]
        )


@pytest.fixture
def trail(db: None, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ids of a trail of three seals of ten and one entry that is not sealed."""
    monkeypatch.setattr(sealing, "LARGEST", 10)
    with connection.cursor() as cursor:  # whatever the world before left
        cursor.execute("SELECT count(*) FROM audit_auditentry")
        already = cursor.fetchone()[0]
    factories.as_system()
    record(30 - already - 1)  # and one for the system actor, where it is new
    while AuditEntry.objects.count() < 30:
        record(1)
    assert [seal.count for seal in sealing.seal()] == [10, 10, 10]
    record(1)
    return list(AuditEntry.objects.order_by("pk").values_list("pk", flat=True))


def broken() -> str:
    found = checking.verify_stored().broken
    assert found is not None, "nothing was found"
    return str(found)


class TestSealing:
    def test_a_whole_trail_is_whole(self, trail: list[int]) -> None:
        verdict = checking.verify_stored()
        assert (verdict.broken, verdict.seals, verdict.entries, verdict.unsealed) == (None, 3, 30, 1)

    def test_nothing_new_makes_no_seal(self, trail: list[int]) -> None:
        assert len(sealing.seal()) == 1
        assert sealing.seal() == []

    def test_seals_follow_each_other(self, trail: list[int]) -> None:
        first, second, third = AuditSeal.objects.order_by("number")
        assert (first.after, first.previous_hash) == (0, "0" * 64)
        assert (second.after, second.previous_hash) == (first.up_to, first.hash)
        assert (third.after, third.previous_hash) == (second.up_to, second.hash)

    def test_without_a_key_in_production_it_says_what_to_do(self, trail: list[int], settings: Any) -> None:
        settings.PRODUCTION, settings.AUDIT_SIGNING_KEY = True, ""
        with pytest.raises(signing.NoKey, match="audit keygen"):
            sealing.seal()

    def test_a_key_that_is_none_is_refused_and_not_shown(self, settings: Any) -> None:
        settings.AUDIT_SIGNING_KEY = "c2VjcmV0LXNlY3JldA=="
        with pytest.raises(keys.BadKey) as error:
            signing.signing_key()
        assert "c2Vj" not in str(error.value)

    def test_after_a_change_of_keys_the_old_one_is_trusted_where_named(
        self, trail: list[int], settings: Any
    ) -> None:
        old = keys.text_of(signing.signing_key().public_key())
        settings.AUDIT_SIGNING_KEY = keys.new_private_text()
        sealing.seal()
        assert "not one that is trusted" in broken()
        settings.AUDIT_TRUSTED_KEYS = [old]
        assert checking.verify_stored().holds


class TestTampering:
    """Each of these is done by the database's superuser, past every trigger."""

    def test_a_changed_row(self, trail: list[int]) -> None:
        with superuser() as cursor:
            cursor.execute("UPDATE audit_auditentry SET reason = 'for the seaL' WHERE id = %s", [trail[14]])
        assert broken().startswith(f"entry {trail[14]}: changed")

    @pytest.mark.parametrize(
        "change",
        [
            "timestamp = timestamp + interval '1 microsecond'",
            "actor_id = (SELECT max(id) FROM access_user)",
            'changes = changes || \'{"notes": ["a", "b"]}\'',
            "changes = NULL",
            "object_repr = object_repr || ' '",
            "event = 'export'",
            "remote_addr = '10.0.0.1'",
            "grant_id = 7",
            "action = 1",
            "cid = 'x'",
            "operation_id = 0",
        ],
    )
    def test_any_column(self, trail: list[int], change: str) -> None:
        factories.make_user()
        with superuser() as cursor:
            cursor.execute(f"UPDATE audit_auditentry SET {change} WHERE id = %s", [trail[5]])
        assert broken().startswith(f"entry {trail[5]}: changed")

    def test_every_column_is_in_the_digest(self) -> None:
        from apps.audit.canonical import FIELDS

        covered = " ".join(FIELDS.values())
        assert [f.column for f in AuditEntry._meta.concrete_fields if f.column not in covered] == []

    @pytest.mark.parametrize("place", [0, 9, 17, 29])
    def test_a_deleted_row(self, trail: list[int], place: int) -> None:
        with superuser() as cursor:
            cursor.execute("DELETE FROM audit_auditentry WHERE id = %s", [trail[place]])
        assert broken().startswith(f"entry {trail[place]}: deleted")

    def test_an_inserted_row(self, trail: list[int]) -> None:
        columns = [f.column for f in AuditEntry._meta.concrete_fields if f.column != "id"]
        with superuser() as cursor:
            cursor.execute("UPDATE audit_auditentry SET id = id + 1000000 WHERE id > %s", [trail[-1]])
            cursor.execute(
                f"INSERT INTO audit_auditentry (id, {', '.join(columns)}) SELECT %s, {', '.join(columns)} "
                "FROM audit_auditentry WHERE id = %s",
                [0, trail[3]],
            )
        assert broken().startswith("entry 0: inserted")

    def test_a_row_inserted_into_a_gap(self, monkeypatch: pytest.MonkeyPatch, db: None) -> None:
        record(3)
        with connection.cursor() as cursor:
            cursor.execute("SELECT nextval(pg_get_serial_sequence('audit_auditentry', 'id'))")
            gap = cursor.fetchone()[0]
        record(3)
        sealing.seal()
        entry = AuditEntry.objects.latest("pk")
        entry.pk, entry._state.adding = gap, True
        AuditEntry.objects.bulk_create([entry])
        assert broken().startswith(f"entry {gap}: inserted")

    def test_rows_that_changed_places(self, trail: list[int]) -> None:
        one, other = trail[12], trail[15]
        with superuser() as cursor:
            for old, new in ((one, -1), (other, one), (-1, other)):
                cursor.execute("UPDATE audit_auditentry SET id = %s WHERE id = %s", [new, old])
        assert broken().startswith(f"entry {one}: re-ordered — what stands there was sealed as entry {other}")

    def test_the_first_of_several(self, trail: list[int]) -> None:
        with superuser() as cursor:
            cursor.execute("DELETE FROM audit_auditentry WHERE id = %s", [trail[25]])
            cursor.execute("UPDATE audit_auditentry SET via = 'x' WHERE id = %s", [trail[21]])
        assert broken().startswith(f"entry {trail[21]}")

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            ("rows_hash = repeat('a', 64)", "seal #2: changed"),
            ("hash = repeat('a', 64)", "seal #2: changed"),
            ("previous_hash = repeat('a', 64)", "seal #2: changed"),
            ("sealed_at = sealed_at - interval '1 day'", "seal #2: changed"),
            ("digests = set_byte(digests, 50, 255 - get_byte(digests, 50))", "seal #2: changed"),
            ("signature = set_byte(signature, 3, 255 - get_byte(signature, 3))", "seal #2: signature wrong"),
            ("key_id = 'somebody'", "seal #2: changed"),
        ],
    )
    def test_a_changed_seal(self, trail: list[int], change: str, what: str) -> None:
        with superuser() as cursor:
            cursor.execute(f"UPDATE audit_auditseal SET {change} WHERE number = 2")
        assert broken().startswith(what)

    def test_a_deleted_seal(self, trail: list[int]) -> None:
        with superuser() as cursor:
            cursor.execute("DELETE FROM audit_auditseal WHERE number = 2")
        assert broken().startswith("seal #2: missing")

    @pytest.mark.parametrize("seals", [1, 2])
    def test_the_beginning_cut_off_with_its_seals(self, trail: list[int], seals: int) -> None:
        """Retention lets entries go and keeps every seal, so a trail that begins later was cut."""
        with superuser() as cursor:
            cursor.execute("DELETE FROM audit_auditseal WHERE number <= %s", [seals])
            cursor.execute("DELETE FROM audit_auditentry WHERE id <= %s", [trail[10 * seals - 1]])
        assert broken().startswith("seal #1: missing")

    def test_a_row_sealed_anew_without_the_key(self, trail: list[int]) -> None:
        """Row, digest and hashes all agree; only the key's holder could have signed them."""
        from apps.audit.canonical import digest_of

        with superuser() as cursor:
            cursor.execute("UPDATE audit_auditentry SET reason = 'forged' WHERE id = %s", [trail[29]])
            line = next(line for pk, line in checking.stored_entries() if pk == trail[29])
            seal = AuditSeal.objects.get(number=3)
            digests = bytes(seal.digests)[: -LEAF + 8] + digest_of(line)
            header = {**seal.header(), "rows": __import__("hashlib").sha256(digests).hexdigest()}
            cursor.execute(
                "UPDATE audit_auditseal SET digests = %s, rows_hash = %s, hash = %s WHERE number = 3",
                [digests, header["rows"], hash_of(header)],
            )
        assert broken().startswith("seal #3: signature wrong")

    def test_an_end_cut_off_is_found_by_a_checkpoint_kept_elsewhere(self, trail: list[int]) -> None:
        kept = {seal.number: seal.hash for seal in AuditSeal.objects.all()}
        with superuser() as cursor:
            cursor.execute("DELETE FROM audit_auditseal WHERE number = 3")
            cursor.execute("DELETE FROM audit_auditentry WHERE id > %s", [trail[19]])
        assert checking.verify_stored().holds
        found = checking.verify_stored({3: kept[3]}).broken
        assert str(found).startswith("seal #3: missing")


class TestExport:
    @pytest.fixture
    def folder(self, trail: list[int], tmp_path: Path) -> Path:
        call_command("audit", "export", str(tmp_path / "out"), stdout=StringIO())
        return tmp_path / "out"

    def says(self, folder: Path) -> str:
        return outside.words(outside.verify_export(folder))

    def test_it_verifies_by_itself(self, folder: Path) -> None:
        assert self.says(folder).startswith("WHOLE: 30 entries under 3 seals")
        assert outside.main([str(folder)]) == 0

    def test_without_django_and_database(self, folder: Path) -> None:
        import subprocess
        import sys

        code = (
            "import sys; from apps.audit.outside import main; code = main([sys.argv[1]]);"
            "assert not [m for m in sys.modules if m.startswith(('django', 'psycopg'))]; sys.exit(code)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False,
            cwd=Path(outside.__file__).parents[2],
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("WHOLE")

    def test_a_line_is_what_is_hashed(self, folder: Path) -> None:
        """As an outsider would do it, with nothing of ours."""
        import base64
        import hashlib

        lines = (folder / "entries.jsonl").read_bytes().splitlines()
        seal = json.loads((folder / "seals.jsonl").read_text().splitlines()[0])
        digests = base64.b64decode(seal["digests"])
        assert digests[8:40] == hashlib.sha256(lines[0]).digest()
        header = json.dumps(seal["header"], sort_keys=True, separators=(",", ":")).encode()
        assert hashlib.sha256(header).hexdigest() == seal["hash"]
        assert "Näme ✓".encode() in lines[-1]

    @pytest.mark.parametrize(
        ("tamper", "what"),
        [
            (
                lambda lines: [*lines[:4], lines[4].replace(b"for the seal", b"for the deal"), *lines[5:]],
                "changed",
            ),
            (lambda lines: [*lines[:4], *lines[5:]], "deleted"),
            (lambda lines: [*lines[:5], lines[5], lines[4], *lines[6:]], "re-ordered"),
            (lambda lines: [lines[1], lines[0], *lines[2:]], "deleted"),
        ],
        ids=["changed", "deleted", "doubled", "swapped"],
    )
    def test_a_tampered_export_is_found(self, folder: Path, tamper: Any, what: str) -> None:
        path = folder / "entries.jsonl"
        path.write_bytes(b"\n".join(tamper(path.read_bytes().splitlines())) + b"\n")
        said = self.says(folder)
        assert said.startswith("BROKEN at entry")
        assert what in said

    def test_anothers_key_is_not_trusted(self, folder: Path, capsys: Any) -> None:
        other = keys.text_of(keys.private_key(keys.new_private_text()).public_key())
        assert outside.main([str(folder), "--key", other]) == 1
        assert "seal #1: signature wrong" in capsys.readouterr().out

    @pytest.mark.parametrize("name", ["entries.jsonl", "seals.jsonl"])
    def test_a_file_that_is_none_is_named(self, folder: Path, name: str, capsys: Any) -> None:
        (folder / name).write_text("{not json\n")
        assert outside.main([str(folder)]) == 2
        assert f"{name}, line 1" in capsys.readouterr().err

    def test_the_command_fails_where_the_chain_breaks(self, trail: list[int]) -> None:
        out = StringIO()
        call_command("audit", "verify", stdout=out)
        assert "WHOLE" in out.getvalue()
        with superuser() as cursor:
            cursor.execute("UPDATE audit_auditentry SET via = 'x' WHERE id = %s", [trail[7]])
        with pytest.raises(CommandError, match=f"BROKEN at entry {trail[7]}: changed"):
            call_command("audit", "verify", stdout=out)

    def test_taking_it_is_itself_recorded(self, folder: Path) -> None:
        entry = AuditEntry.objects.get(event="export")
        assert (entry.actor.username, entry.via) == ("system:command", "command")
        assert "30 entries, 3 seals" in entry.object_repr

    def test_it_writes_over_nothing(self, folder: Path) -> None:
        with pytest.raises(CommandError, match="name a new folder"):
            call_command("audit", "export", str(folder))


@pytest.mark.django_db(transaction=True)
class TestNothingIsSkipped:
    def test_an_id_that_commits_late_is_waited_for(self) -> None:
        record(1)
        started, go = threading.Event(), threading.Event()

        def late() -> None:
            with transaction.atomic():
                record(1)
                started.set()
                go.wait(10)
            connection.close()

        thread = threading.Thread(target=late)
        thread.start()
        assert started.wait(10)
        record(1)  # a higher id, committed at once
        assert sealing.seal(patience=0.2) == []
        go.set()
        thread.join()
        assert sum(seal.count for seal in sealing.seal()) == AuditEntry.objects.count()
        assert checking.verify_stored().holds

    def test_many_writers_and_two_sealers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Transactions of all lengths, some rolled back, while two sealers seal as fast as they can."""
        monkeypatch.setattr(sealing, "LARGEST", 7)
        user = factories.make_user("writer")
        stop, failures = threading.Event(), []

        def write(seed: int) -> None:
            chance = random.Random(seed)
            try:
                for number in range(25):
                    with transaction.atomic(), acting(user, reason="x"):
                        for part in range(chance.randint(1, 3)):
                            Tenant.objects.create(key=f"w{seed}-{number}-{part}", name="x")
                            time.sleep(chance.random() * 0.01)
                        if chance.random() < 0.3:
                            transaction.set_rollback(True)
            except Exception as error:  # noqa: BLE001 - whatever it was, the test tells
                failures.append(error)
            finally:
                connection.close()

        def seal() -> None:
            try:
                while not stop.is_set():
                    sealing.seal(patience=0.5)
            except Exception as error:  # noqa: BLE001 - whatever it was, the test tells
                failures.append(error)
            finally:
                connection.close()

        writers = [threading.Thread(target=write, args=(seed,)) for seed in range(5)]
        sealers = [threading.Thread(target=seal) for _ in range(2)]
        for thread in (*writers, *sealers):
            thread.start()
        for thread in writers:
            thread.join()
        during = AuditSeal.objects.count()
        stop.set()
        for thread in sealers:
            thread.join()
        sealing.seal()
        assert failures == []
        assert during > 1, "nothing was sealed while there was writing"
        verdict = checking.verify_stored()
        assert (verdict.broken, verdict.unsealed) == (None, 0)
        assert verdict.entries == AuditEntry.objects.count()


class TestTheClock:
    def test_it_asks_for_seals_and_for_a_check(self) -> None:
        from apps.operations import ticks

        assert {"seal the trail", "check the trail"} <= set(ticks._ticks)

    def test_the_actors_do_it(self, trail: list[int]) -> None:
        from apps.audit import actors
        from apps.audit.models import AuditCheck

        actors.seal.fn()
        assert AuditSeal.objects.count() == 4
        actors.check.fn()
        actors.check.fn()
        (kept,) = AuditCheck.objects.all()
        assert (kept.seals_to, kept.entries, kept.broken) == (4, 31, "")

    def test_a_broken_chain_is_kept_and_said_aloud(self, trail: list[int], caplog: Any) -> None:
        with superuser() as cursor:
            cursor.execute("DELETE FROM audit_auditentry WHERE id = %s", [trail[3]])
        kept = checking.check_if_due()
        assert kept is not None
        assert (kept.broken_entry, kept.broken_seal, kept.seals_to) == (trail[3], 1, 0)
        assert f"BROKEN at entry {trail[3]}" in caplog.text

    def test_without_a_key_it_goes_on_and_says_so_once_an_hour(
        self, db: None, settings: Any, caplog: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sealing, "_said_at", float("-inf"))
        settings.PRODUCTION, settings.AUDIT_SIGNING_KEY = True, ""
        assert sealing.seal_if_possible() == sealing.seal_if_possible() == 0
        assert caplog.text.count("audit keygen") == 1

    def test_the_system_check_tells_a_key_that_is_none(self, settings: Any) -> None:
        from apps.audit.checks import keys_are_keys, production_seals

        settings.AUDIT_SIGNING_KEY, settings.AUDIT_TRUSTED_KEYS = "x", ["y"]
        assert [message.id for message in keys_are_keys(None)] == ["audit.E001", "audit.E002"]
        settings.PRODUCTION, settings.AUDIT_SIGNING_KEY = True, ""
        assert [message.id for message in production_seals(None)] == ["audit.W001"]
