"""Bills come in whole or not at all, once, to the last digit."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
from datetime import date
from decimal import Decimal
from pathlib import Path
from unittest import mock
from urllib.parse import quote

import duckdb
import pytest
from django.conf import settings
from django.db import connection

from apps.access.services import system_actor
from apps.cost import importing, store
from apps.cost.locks import Lock
from apps.cost.models import Bill, DailyCost, Run, Statement, SubAccount
from tests import factories
from tests.cost.bills import (
    LINE,
    SAMPLE,
    as_csv,
    current,
    deliver,
    deliver_sample,
    facts,
    lines,
    rules_of,
    statement_total,
    sums,
)  # fmt: skip

pytestmark = pytest.mark.django_db(transaction=True)

TOTAL = Decimal("14.665985475210000000")


def nothing_is_there() -> bool:
    return not (
        Statement.objects.exists()
        or DailyCost.objects.exists()
        or Run.objects.exists()
        or SubAccount.objects.exists()
    )


class TestTheRealSample:
    def test_it_is_imported_to_the_last_digit(self) -> None:
        bill = deliver_sample()
        assert bill.state == "imported", str(bill.report)
        assert (bill.state, bill.lines, bill.report["errors"]) == ("imported", 500, 0)
        assert statement_total() == TOTAL
        assert sum(sums("day").values()) == TOTAL
        assert sum(current().values_list("lines", flat=True)) == 500

    def test_each_billing_account_and_period_is_a_statement(self) -> None:
        deliver_sample()
        assert Statement.objects.count() == 4
        assert set(Statement.objects.values_list("provider", flat=True)) == {"AWS", "Microsoft", "Oracle"}

    def test_the_word_null_is_nothing(self) -> None:
        deliver_sample()
        assert not SubAccount.objects.filter(name="NULL").exists()

    def test_as_gzip_and_as_parquet_it_gives_the_same(self, tmp_path: Path) -> None:
        deliver_sample()
        plain = facts()
        for data, name in (
            (gzip.compress(SAMPLE.read_bytes()), "a.csv.gz"),
            (_parquet(tmp_path), "a.parquet"),
        ):
            assert deliver(data, name=name).state == "imported"
            assert facts() == plain
        assert Statement.objects.filter(is_current=True).count() == 4


def _parquet(folder: Path) -> bytes:
    """The sample with the types that a provider's Parquet export has: decimals, times, a map of tags."""
    path = folder / "a.parquet"
    duckdb.sql(
        "COPY (SELECT * REPLACE (BilledCost::DECIMAL(30,15) AS BilledCost, EffectiveCost::DECIMAL(30,15) AS EffectiveCost, "
        "ListCost::DOUBLE AS ListCost, ChargePeriodStart::TIMESTAMP AS ChargePeriodStart, "
        "Tags::JSON::MAP(VARCHAR, VARCHAR) AS Tags) "
        f"FROM read_csv('{SAMPLE}', all_varchar = true, nullstr = 'NULL')) TO '{path}'"
    )
    return path.read_bytes()


class TestOnce:
    def test_the_same_file_again_changes_nothing(self) -> None:
        first = deliver_sample()
        before, runs = facts(), Run.objects.count()
        again, is_new = importing.receive_upload(
            [("other.csv", [SAMPLE.read_bytes()])], actor=system_actor("command")
        )
        importing.read_bill(again.pk)
        assert (again.pk, is_new) == (first.pk, False)
        assert (facts(), Run.objects.count()) == (before, runs)

    def test_a_corrected_bill_takes_the_place_of_the_former(self) -> None:
        former = deliver(as_csv(lines("10", "5")))
        bill = deliver(as_csv(lines("10", "4.5")))
        assert statement_total() == Decimal("14.5")
        assert sum(sums("day").values()) == Decimal("14.5")
        (change,) = bill.report["changes"]
        assert Decimal(change["billed"]) == Decimal("-0.5")
        assert Statement.objects.get(is_current=True).replaces == former.statements.get()

    def test_another_period_stands_beside_it(self) -> None:
        deliver(as_csv(lines("10")))
        october = {
            "BillingPeriodStart": "2026-10-01",
            "BillingPeriodEnd": "2026-11-01",
            "ChargePeriodStart": "2026-10-02",
            "ChargePeriodEnd": "2026-10-03",
        }
        deliver(as_csv(lines("7", **october)))
        assert statement_total() == 17

    def test_a_refused_correction_leaves_the_former(self) -> None:
        deliver(as_csv(lines("10")))
        before = facts()
        assert deliver(as_csv(lines("x"))).state == "refused"
        assert facts() == before

    def test_parts_of_one_delivery_are_one_bill(self) -> None:
        deliver(as_csv(lines("1", "2")), as_csv(lines("3")))
        assert statement_total() == 6
        assert Statement.objects.get().lines == 3


class TestRefused:
    @pytest.mark.parametrize(
        ("line", "rule"),
        [
            ({"BilledCost": "abc"}, "value.type"),
            ({"BilledCost": "1,000.50"}, "value.type"),
            ({"EffectiveCost": "NaN"}, "number.nan"),
            ({"ListCost": "Infinity"}, "number.nan"),
            ({"BilledCost": "0.1234567890123456789"}, "number.too_fine"),
            ({"BilledCost": "1e-30"}, "number.too_fine"),
            ({"BilledCost": "1e-40"}, "number.too_fine"),
            ({"BilledCost": "NULL"}, "value.missing"),
            ({"BillingCurrency": "usd"}, "currency.code"),
            ({"ChargeCategory": "Gift"}, "category.unknown"),
            ({"ChargePeriodStart": "yesterday"}, "value.type"),
            ({"ChargePeriodEnd": "2026-09-04 00:00:00"}, "period.order"),
            ({"ServiceName": "s" * 121}, "value.too_long"),
            ({"ServiceName": "E\0C2"}, "value.zero"),
            ({"BillingCurrency": "U\0D"}, "value.zero"),
            ({"ChargePeriodStart": "infinity", "ChargePeriodEnd": "infinity"}, "time.far"),
            ({"BillingPeriodStart": "-infinity"}, "time.far"),
            ({"BillingPeriodEnd": "20260-10-01 00:00:00"}, "time.far"),
        ],
        ids=lambda value: repr(value)[:40],
    )
    def test_a_bad_line_refuses_the_whole_and_is_named(self, line: dict[str, str], rule: str) -> None:
        bill = deliver(as_csv([{}, {}, line]))
        assert bill.state == "refused"
        (finding,) = [one for one in bill.report["findings"] if one["rule"] == rule]
        assert finding["count"] == 1
        assert finding["lines"][0]["line"] == 4
        assert nothing_is_there()

    @pytest.mark.parametrize("services", [("EC2", "EC2"), ("EC2", "S3")])
    def test_amounts_that_add_up_to_more_than_is_kept(self, services: tuple[str, str]) -> None:
        bill = deliver(as_csv([{"BilledCost": "9" * 20, "ServiceName": one} for one in services]))
        assert (bill.state, rules_of(bill)) == ("refused", {"sum.too_large"})
        assert nothing_is_there()

    def test_a_column_that_lacks(self) -> None:
        bill = deliver(as_csv([{}], leave_out=["BilledCost"]))
        assert (bill.state, rules_of(bill)) == ("refused", {"column.missing"})
        assert "BilledCost" in bill.report["findings"][0]["message"]

    def test_a_column_of_the_wrong_type(self, tmp_path: Path) -> None:
        path = tmp_path / "a.parquet"
        (tmp_path / "a.csv").write_bytes(as_csv([{}]))
        duckdb.sql(f"COPY (SELECT * REPLACE (true AS BilledCost) FROM '{tmp_path}/a.csv') TO '{path}'")
        bill = deliver(path.read_bytes(), name="a.parquet")
        assert "column.type" in rules_of(bill)
        assert nothing_is_there()

    @pytest.mark.parametrize(
        ("cost", "is_kept"), [("0.1234567890123456789", False), ("0.123456789012345678", True)]
    )
    def test_a_decimal_of_more_places_than_are_kept(self, tmp_path: Path, cost: str, is_kept: bool) -> None:
        path = tmp_path / "a.parquet"
        (tmp_path / "a.csv").write_bytes(as_csv([{"BilledCost": cost}]))
        fine = "BilledCost::DECIMAL(38,20) AS BilledCost"
        duckdb.sql(
            f"COPY (SELECT * REPLACE ({fine}) FROM read_csv('{tmp_path}/a.csv', all_varchar = true)) TO '{path}'"
        )
        bill = deliver(path.read_bytes(), name="a.parquet")
        assert rules_of(bill) == (set() if is_kept else {"number.too_fine"})
        assert statement_total() == (Decimal(cost) if is_kept else 0)

    @pytest.mark.parametrize("name", ["a.csv.gz", "a.parquet"])
    def test_a_truncated_file(self, name: str, tmp_path: Path) -> None:
        whole = gzip.compress(as_csv(lines(*range(500)))) if name.endswith("gz") else _parquet(tmp_path)
        bill = deliver(whole[: len(whole) // 2], name=name)
        assert (bill.state, rules_of(bill)) == ("refused", {"file.unreadable"})
        assert nothing_is_there()

    def test_a_file_without_lines(self) -> None:
        assert rules_of(deliver(as_csv([]))) == {"file.empty"}

    def test_ragged_lines(self) -> None:
        bill = deliver(as_csv([{}]) + b"1,2,3\n")
        assert bill.state == "refused"
        assert nothing_is_there()

    def test_periods_that_overlap(self) -> None:
        deliver(as_csv(lines("10")))
        bill = deliver(as_csv(lines("1", BillingPeriodStart="2026-09-03", BillingPeriodEnd="2026-10-03")))
        assert (bill.state, rules_of(bill)) == ("refused", {"period.overlap"})
        assert statement_total() == 10

    def test_neither_csv_nor_parquet(self) -> None:
        with pytest.raises(store.Unusable, match="neither"):
            deliver(b"x", name="bill.pdf")
        assert not Bill.objects.exists()


class TestLetIn:
    def test_a_zero_byte_in_a_name_is_left_out(self) -> None:
        assert deliver(as_csv([{"SubAccountName": "Sub\0 one"}])).state == "imported"
        assert SubAccount.objects.get().name == "Sub one"

    @pytest.mark.parametrize("year", [1950, 2100])
    def test_days_far_out_count_on_their_day(self, year: int) -> None:
        assert (
            deliver(
                as_csv([{"ChargePeriodStart": f"{year}-02-03", "ChargePeriodEnd": f"{year}-02-04"}])
            ).state
            == "imported"
        )
        assert DailyCost.objects.get().day == date(year, 2, 3)

    def test_costs_far_below_a_cent_are_kept(self) -> None:
        deliver(as_csv(lines("1e-12", "0.000000000000000001")))
        assert statement_total() == Decimal("0.000001000001E-12") * 10**6

    def test_credits_and_corrections_are_below_nothing(self) -> None:
        bill = deliver(
            as_csv(
                [
                    *lines("-5", ChargeCategory="Credit"),
                    *lines("-1", ChargeClass="Correction", ConsumedQuantity="-1"),
                ]
            )
        )
        assert bill.state == "imported"
        assert statement_total() == -6

    def test_usage_below_nothing_is_told_with_its_lines(self) -> None:
        """Real bills have it (Microsoft gives usage back so); to refuse them would be to have no bill."""
        bill = deliver(as_csv([{}, {"ConsumedQuantity": "-2"}]))
        assert (bill.state, rules_of(bill)) == ("imported", {"usage.negative"})
        assert bill.report["findings"][0]["lines"] == [{"line": 3, "value": "-2.000000000000000000"}]

    def test_currencies_are_kept_apart(self) -> None:
        deliver(as_csv([*lines("5"), *lines("7", BillingCurrency="EUR")]))
        assert sums("currency") == {"USD": 5, "EUR": 7}
        assert Statement.objects.count() == 2

    def test_tags_that_are_no_json_are_told_and_let_in(self) -> None:
        bill = deliver(as_csv(lines("5", Tags="{broken")))
        assert (bill.state, rules_of(bill)) == ("imported", {"tags.json"})

    def test_a_charge_outside_its_period_is_told(self) -> None:
        bill = deliver(as_csv(lines("5", ChargePeriodStart="2026-08-31 23:00:00")))
        assert (bill.state, rules_of(bill)) == ("imported", {"period.outside"})

    def test_a_sub_account_with_an_accounts_id_is_placed_in_it(self) -> None:
        account = factories.make_account("aws-prod", cloud="aws", external_id="sub-1")
        deliver(as_csv(lines("5")))
        assert current().get().account == account


class TestFolder:
    def test_files_and_folders_are_bills(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_bytes(as_csv(lines("1")))
        (tmp_path / "export").mkdir()
        (tmp_path / "export" / "1.csv").write_bytes(as_csv(lines("2", BillingAccountId="p2")))
        (tmp_path / "export" / "2.csv").write_bytes(as_csv(lines("3", BillingAccountId="p2")))
        (tmp_path / "notes.txt").write_text("x")
        made, refused = importing.receive_folder(tmp_path, actor=system_actor("command"))
        importing.read_open_bills()
        assert (len(made), refused) == (2, [])
        assert statement_total() == 6

    def test_a_file_that_changes_while_it_is_read_is_left_for_later(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_bytes(as_csv(lines("1")))
        real = store.digest_of

        def grows(source: Path) -> str:
            digest = real(source)
            with path.open("ab") as stream:
                stream.write(b"more")
            return digest

        with mock.patch.object(store, "digest_of", grows):
            made, refused = importing.receive_folder(tmp_path, actor=system_actor("command"))
        assert made == [] and "changed while it was read" in refused[0]
        assert not Bill.objects.exists()


class TestWorkers:
    def test_a_kept_file_that_is_changed_refuses_the_bill(self) -> None:
        bill = deliver(as_csv(lines("1")), read=False)
        path = store.folder_of(bill.digest) / bill.files[0]["stored"]
        path.write_bytes(as_csv(lines("2")))
        importing.read_bill(bill.pk)
        bill.refresh_from_db()
        assert (bill.state, rules_of(bill)) == ("refused", {"file.changed"})
        assert nothing_is_there()

    def test_a_worker_killed_in_the_middle_leaves_nothing_and_another_goes_on(self) -> None:
        bill = deliver(as_csv(lines("1")), read=False)
        pid = os.fork()
        if not pid:
            _die_in_the_middle(bill.pk)
        os.waitpid(pid, 0)
        bill.refresh_from_db()
        assert bill.state == "reading"
        assert nothing_is_there()
        importing.read_open_bills()
        bill.refresh_from_db()
        assert bill.state == "imported"
        assert statement_total() == 1

    def test_a_worker_that_gets_sigkill_while_it_writes_leaves_nothing(self, tmp_path: Path) -> None:
        """A process of its own, killed from outside between the facts and the commit, as the kernel kills one."""
        bill = deliver(as_csv(lines("1", "2")), read=False)
        sign = tmp_path / "writing"
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(bill.pk), str(sign)],
            env={
                **os.environ,
                "DATABASE_URL": _test_database(),
                "DAYTWO_DATA_DIR": str(settings.DAYTWO_DATA_DIR),
            },
        )
        try:
            for _ in range(600):
                if sign.exists() or worker.poll() is not None:
                    break
                time.sleep(0.1)
            assert sign.exists(), "the worker never came to writing"
            worker.send_signal(signal.SIGKILL)
            assert worker.wait(10) == -signal.SIGKILL
        finally:
            worker.kill()
            worker.wait(10)
        for _ in range(100):  # until PostgreSQL has seen that its client is gone
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_try_advisory_lock(%s)", [int(Lock.MONEY)])
                if cursor.fetchone()[0]:
                    cursor.execute("SELECT pg_advisory_unlock(%s)", [int(Lock.MONEY)])
                    break
            time.sleep(0.1)
        bill.refresh_from_db()
        assert bill.state == "reading"
        assert nothing_is_there()
        importing.read_open_bills()
        assert statement_total() == 3 and sum(sums("day").values()) == 3

    def test_a_bill_that_kills_its_workers_is_given_up(self) -> None:
        bill = deliver(as_csv(lines("1")), read=False)
        with mock.patch.object(importing, "_import", side_effect=MemoryError):
            for _ in range(3):
                with pytest.raises(MemoryError):
                    importing.read_bill(bill.pk)
        importing.read_bill(bill.pk)
        bill.refresh_from_db()
        assert (bill.state, rules_of(bill)) == ("failed", {"reading.failed"})

    def test_a_bill_that_somebody_reads_is_passed_by(self) -> None:
        bill = deliver(as_csv(lines("1")))
        importing.read_bill(bill.pk)
        assert bill.tries == 1
        assert set(LINE) and Run.objects.count() == 1


WORKER = """
import os, pathlib, sys, time
os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
import django
django.setup()
from apps.cost import importing
def stand_still(bill):
    pathlib.Path(sys.argv[2]).touch()
    time.sleep(120)
importing._still_whole = stand_still
importing.read_bill(int(sys.argv[1]))
"""


def _test_database() -> str:
    """The address of the database that this test runs on."""
    there = connection.settings_dict
    login = there["USER"] + (f":{quote(there['PASSWORD'])}" if there["PASSWORD"] else "")
    return f"postgresql://{login}@{there['HOST']}:{there['PORT']}/{there['NAME']}"


def _die_in_the_middle(pk: int) -> None:
    """In a child process: everything is written, nothing committed, then the process is gone."""
    from django.db import connections

    for one in connections.all():
        one.connection = None  # the parent's; closing it here would end it there
    with mock.patch.object(importing, "_still_whole", lambda bill: os._exit(9)):
        importing.read_bill(pk)
    os._exit(1)
