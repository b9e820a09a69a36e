"""Bills in object storage, against moto's S3; what the storage refuses is told in words, and no credential anywhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import boto3
import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from moto.server import ThreadedMotoServer

from apps.core.models import Event
from apps.cost import buckets, fetching, importing
from apps.cost.models import Bill, BillSource
from apps.cost.store import Unusable
from tests import factories
from tests.cost.bills import as_csv, lines, statement_total

pytestmark = pytest.mark.django_db(transaction=True)
KEY, SECRET, TOKEN = "AKIDTESTONLY000000", "not-a-real-secret-9f2c", "not-a-real-token-77aa"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(address: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    names = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_SESSION_TOKEN": TOKEN,
        "AWS_ENDPOINT_URL_S3": address,
    }
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    client = boto3.client(
        "s3",
        endpoint_url=address,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )
    for bucket in client.list_buckets()["Buckets"]:
        for one in client.list_objects_v2(Bucket=bucket["Name"]).get("Contents", ()):
            client.delete_object(Bucket=bucket["Name"], Key=one["Key"])
    client.create_bucket(Bucket="bills")
    return client


def put(s3: Any, key: str, *amounts: str, **more: str) -> None:
    s3.put_object(Bucket="bills", Key=key, Body=as_csv(lines(*amounts, **more)))


def of_period(month: int) -> dict[str, str]:
    return {"BillingPeriodStart": f"2026-{month:02}-01 00:00:00", "BillingPeriodEnd": f"2026-{month + 1:02}-01 00:00:00",
            "ChargePeriodStart": f"2026-{month:02}-05 03:00:00", "ChargePeriodEnd": f"2026-{month:02}-05 04:00:00"}  # fmt: skip


class TestFetching:
    def test_each_file_is_a_bill_and_each_folder_one_of_many_files(self, s3: Any) -> None:
        put(s3, "exports/august.csv", "1", **of_period(8))
        put(s3, "exports/data/BILLING_PERIOD=2026-09/part-1.csv", "2")
        put(s3, "exports/data/BILLING_PERIOD=2026-09/part-2.csv", "3")
        s3.put_object(Bucket="bills", Key="exports/metadata/x-Manifest.json", Body=b"{}")
        s3.put_object(Bucket="bills", Key="exports/readme.txt", Body=b"hello")
        call_command("import_bills", "s3://bills/exports/")
        importing.read_open_bills()
        assert statement_total() == 6 and Bill.objects.count() == 2
        part = next(one for one in Bill.objects.all() if len(one.files) == 2)
        assert {one["name"] for one in part.files} == {"part-1.csv", "part-2.csv"}

    def test_the_same_objects_again_change_nothing(self, s3: Any) -> None:
        put(s3, "a/one.csv", "5")
        for _ in range(2):
            fetching.receive_url("s3://bills/a/", actor=factories.make_user())
        assert Bill.objects.count() == 1

    def test_one_object(self, s3: Any) -> None:
        put(s3, "a/one.csv", "5")
        put(s3, "a/two.csv", "6")
        made, refused = fetching.receive_url("s3://bills/a/one.csv", actor=factories.make_user())
        assert len(made) == 1 and not refused

    def test_an_object_that_changes_while_it_is_listed_is_not_mixed(self, s3: Any) -> None:
        put(s3, "a/one.csv", "5")
        listed = buckets.deliveries("s3://bills/a/")
        put(s3, "a/one.csv", "7")
        with pytest.raises(Unusable, match="changed while it was read"):
            importing.receive_objects(listed[0], actor=factories.make_user())
        assert not Bill.objects.exists()


class TestSources:
    def test_what_changed_is_fetched_anew_and_corrects(self, s3: Any) -> None:
        with factories.as_system():
            source = BillSource.objects.create(url="s3://bills/daily/")
        put(s3, "daily/september.csv", "5")
        assert [fetching.fetch_all(), fetching.fetch_all()] == [1, 0]
        put(s3, "daily/september.csv", "5", "2")
        assert fetching.fetch_all() == 1
        importing.read_open_bills()
        assert statement_total() == 7
        source.refresh_from_db()
        assert source.looked_at and not source.error

    def test_a_source_that_cannot_be_read_says_why_once_and_holds_up_no_other(self, s3: Any) -> None:
        with factories.as_system():
            gone = BillSource.objects.create(url="s3://a-gone-bucket/x/")
            BillSource.objects.create(url="s3://bills/daily/")
        put(s3, "daily/september.csv", "5")
        assert fetching.fetch_all() == 1
        fetching.fetch_all()
        gone.refresh_from_db()
        assert "there is no such bucket" in gone.error
        assert Event.objects.filter(kind="bills.unreachable").count() == 1

    def test_it_is_a_book(self, s3: Any, reader: Client) -> None:
        add = reverse("cost:add_entry", args=["sources"])
        for bad in (
            "https://x/y",
            "s3://",
            "s3://b/x?versionId=1",
            "/etc/passwd",
            "s3://key:secret@bucket/x",
        ):
            assert reader.post(add, {"url": bad}).status_code == 422, bad
        assert reader.post(add, {"url": "s3://bills/daily/"}).status_code == 302
        assert "s3://bills/daily/" in reader.get(reverse("cost:ledger", args=["sources"])).content.decode()

    def test_only_who_keeps_all_books_adds_one(self, s3: Any, holder: Any) -> None:
        client = holder("account", factories.make_account("here"))
        assert (
            client.post(reverse("cost:add_entry", args=["sources"]), {"url": "s3://b/x/"}).status_code == 403
        )
        assert client.get(reverse("cost:ledger", args=["sources"])).status_code == 403


class Refusing(BaseHTTPRequestHandler):
    """A storage that refuses everything with the code that is its server's."""

    def do_GET(self) -> None:
        code = self.server.code  # type: ignore[attr-defined]
        body = f"<Error><Code>{code}</Code><Message>about {KEY}</Message><AWSAccessKeyId>{KEY}</AWSAccessKeyId></Error>".encode()
        self.send_response(404 if code.startswith("NoSuch") else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


class TestRefusals:
    @pytest.mark.parametrize(
        ("code", "words"),
        [
            ("ExpiredToken", "credentials have expired; give the portal fresh ones"),
            ("InvalidAccessKeyId", "access key is not known there"),
            ("SignatureDoesNotMatch", "secret key does not belong"),
            ("AccessDenied", "needs s3:ListBucket and s3:GetObject"),
            ("NoSuchBucket", "no such bucket"),
            ("SomethingNew", "the storage answered “SomethingNew”"),
        ],
    )
    def test_each_is_told_in_words_and_no_credential(
        self, refusing: Any, code: str, words: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        refusing.code = code
        caplog.set_level(logging.DEBUG)
        with factories.as_system():
            source = BillSource.objects.create(url="s3://bills/x/")
        fetching.fetch_all()
        source.refresh_from_db()
        assert words in source.error
        told = source.error + caplog.text + "".join(Event.objects.values_list("why", flat=True))
        assert not any(secret in told for secret in (KEY, SECRET, TOKEN))

    def test_anonymous_is_told_what_to_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in buckets.ENVIRONMENT:
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(
            CommandError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in its environment"
        ):
            call_command("import_bills", "s3://bills/x/")
        assert not Bill.objects.exists()

    def test_a_storage_that_is_not_there(self, refusing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        with pytest.raises(Unusable, match="was not reached"):
            buckets.deliveries("s3://bills/x/")
