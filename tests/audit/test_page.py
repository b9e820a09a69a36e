"""The audit page: what it shows, to whom, how it is narrowed, and what it costs."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.access.models import Grant, User
from apps.audit import checking, naming, outside, sealing
from apps.audit.canonical import unpack
from apps.audit.filters import AuditFilter
from apps.audit.models import AuditEntry, AuditSeal
from apps.audit.queries import trail
from apps.core.context import acting
from apps.tenants.models import Tenant
from tests import factories
from tests.audit.tampering import superuser

pytestmark = pytest.mark.django_db


@pytest.fixture
def auditor() -> User:
    user = factories.make_user("auditor")
    factories.make_role("auditor", ["view", "see_audit", "export"])
    factories.grant(user, "auditor")
    return user


@pytest.fixture
def client(auditor: User) -> Client:
    client = Client()
    client.force_login(auditor, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def change(auditor: User) -> AuditEntry:
    """Ada renames a tenant."""
    tenant = factories.make_tenant("acme", name="Acme")
    ada = factories.make_user("ada")
    with acting(ada, reason="asked for in ticket 4711", via="api", operation_id=99):
        Tenant.objects.filter(pk=tenant.pk).update(name="Acme & Sons")
    return AuditEntry.objects.latest("pk")


def listed(client: Client, **query: Any) -> list[int]:
    response = client.get(reverse("audit:list"), query)
    assert response.status_code == 200
    return [row.record.pk for row in response.context["table"].page.object_list]


class TestWhoReads:
    def test_visitors_sign_in_first(self) -> None:
        assert Client().get("/audit/").status_code == 302

    def test_the_permission_is_needed(self) -> None:
        user = factories.make_user()
        factories.grant(user, "operator")
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        assert client.get("/audit/").status_code == 403

    def test_on_a_part_it_shows_nothing(self, change: AuditEntry) -> None:
        user = factories.make_user()
        factories.grant(user, "admin", "account", factories.make_account())
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        assert listed(client) == []
        assert client.get(reverse("audit:entry", args=[change.pk])).status_code == 404

    def test_only_reading(self, client: Client) -> None:
        assert client.post("/audit/").status_code == 405


class TestWhatItShows:
    def test_a_line_tells_it_all(self, client: Client, change: AuditEntry) -> None:
        text = client.get("/audit/", {"q": "4711"}).content.decode()
        for part in (
            "ada",
            "api",
            "asked for in ticket 4711",
            "name: Acme → Acme &amp; Sons",
            "tenant",
            "operation 99",
        ):
            assert part in text, part
        assert f'href="/tenants/{change.object_id}/"' in text

    def test_newest_first(self, client: Client, change: AuditEntry) -> None:
        assert listed(client)[0] == change.pk

    def test_one_entry_whole(self, client: Client, change: AuditEntry) -> None:
        text = client.get(reverse("audit:entry", args=[change.pk])).content.decode()
        assert "Acme &amp; Sons" in text
        assert "ticket 4711" in text

    def test_so_it_is_in_the_list_and_in_the_csv_by_one_query(
        self, client: Client, auditor: User, django_assert_num_queries: Any
    ) -> None:
        role = Grant.objects.get(user=auditor).role
        text = client.get("/audit/", {"model": "access.grant"}).content.decode()
        assert f"{role} (#{role.pk})" in text
        csv = b"".join(
            client.get("/audit/", {"model": "access.grant", "_export": "csv"}).streaming_content
        ).decode()
        assert f"role:  → {role} (#{role.pk})" in csv
        entries = list(AuditEntry.objects.select_related("content_type").filter(action=0))
        naming.with_names(entries)
        with django_assert_num_queries(1):
            naming.with_names(entries)

    def test_a_row_that_is_gone_keeps_its_name(self, client: Client) -> None:
        somebody, role = factories.make_user("somebody"), factories.make_role("gone-by-now", ["view"])
        given = factories.grant(somebody, "gone-by-now")
        with factories.as_system():
            given.delete()
            pk = role.pk
            role.delete()
        assert f"gone-by-now (#{pk})" in client.get("/audit/", {"model": "access.grant"}).content.decode()

    def test_what_a_number_stands_for_is_named(self, client: Client, auditor: User) -> None:
        given = Grant.objects.get(user=auditor)
        (entry,) = AuditEntry.objects.filter(content_type__model="grant", object_id=given.pk)
        text = client.get(reverse("audit:entry", args=[entry.pk])).content.decode()
        assert f"auditor (#{given.role_id})" in text
        assert f"everything (#{given.scope_id})" in text

    def test_no_entry_tells_of_other_rows_than_its_own(self, auditor: User) -> None:
        role = AuditEntry.objects.filter(content_type__model="role").latest("pk")
        assert set(role.changes) == {"id", "name", "description", "permissions"}

    def test_values_are_text_and_never_markup(self, client: Client) -> None:
        with factories.as_system("<script>alert(1)</script>"):
            Tenant.objects.create(key="x", name="<img src=x>")
        text = client.get("/audit/").content.decode()
        assert "<img src=x>" not in text
        assert "<script>alert" not in text

    def test_csv_has_every_column_and_is_itself_recorded(
        self, client: Client, change: AuditEntry, auditor: User
    ) -> None:
        response = client.get("/audit/", {"_export": "csv", "q": "4711"})
        lines = b"".join(response.streaming_content).decode().splitlines()
        assert len(lines) == 2
        assert "name: Acme → Acme & Sons" in lines[1]
        assert change.timestamp.isoformat() in lines[1]
        export = AuditEntry.objects.latest("pk")
        assert (export.actor, export.action, export.reason) == (auditor, 3, "exports audit:list as CSV")


class TestFilters:
    @pytest.mark.parametrize(
        "query",
        [
            {"actor": "ADA"},
            {"q": "TICKET 4711"},
            {"via": "api"},
            {"action": "1", "model": "tenants.tenant"},
            {"operation": "99"},
        ],
        ids=lambda query: "+".join(query),
    )
    def test_each_finds_it_and_only_it(
        self, client: Client, change: AuditEntry, query: dict[str, str]
    ) -> None:
        assert listed(client, **query) == [change.pk]

    def test_a_kind(self, client: Client, change: AuditEntry) -> None:
        (entry,) = AuditEntry.objects.filter(event="sign_in")
        assert listed(client, event="sign_in") == [entry.pk]
        assert change.pk in listed(client, event="change")

    def test_a_seals_own(self, client: Client, change: AuditEntry) -> None:
        (seal,) = sealing.seal()
        factories.make_tenant()
        found = listed(client, seal=seal.number)
        assert change.pk in found
        assert max(found) == seal.last_id
        assert listed(client, seal=99) == []

    def test_an_objects_own(self, client: Client, change: AuditEntry) -> None:
        found = listed(client, model="tenants.tenant", object=change.object_id)
        assert (found[0], len(found)) == (change.pk, 2)

    def test_days(self, client: Client, change: AuditEntry) -> None:
        today = datetime.now(UTC).date()
        assert change.pk in listed(client, since=today, until=today)
        assert listed(client, since=today + timedelta(days=1)) == []
        assert listed(client, until=today - timedelta(days=1)) == []

    def test_one_request(self, client: Client, auditor: User) -> None:
        with factories.as_system():
            other = factories.make_tenant()
        response = client.post(reverse("core:save_view"), {"page": "audit:list", "name": "mine"})
        found = listed(client, request_id=response["X-Request-ID"])
        assert len(found) == 1
        assert AuditEntry.objects.get(pk=found[0]).object_repr == "mine"
        assert other.pk

    @pytest.mark.parametrize(
        "query",
        [
            {"model": "no.such"},
            {"object": "x"},
            {"since": "yesterday"},
            {"action": "9"},
            {"q": "\x00"},
            {"object": "9" * 30},
        ],
    )
    def test_nonsense_is_told_and_shows_nothing(
        self, client: Client, change: AuditEntry, query: dict[str, str]
    ) -> None:
        assert listed(client, **query) == []


class TestCost:
    def queries(self, client: Client, **query: Any) -> int:
        with CaptureQueriesContext(connection) as queries:
            client.get("/audit/", query)
        return len(queries)

    def test_it_is_the_same_for_2_and_for_50(self, client: Client) -> None:
        for _ in range(2):
            factories.make_account()
        self.queries(client)
        few = self.queries(client)
        for _ in range(20):
            factories.make_instance()
            factories.make_tenant()
        assert self.queries(client) == few
        assert few <= 10

    @pytest.mark.parametrize(
        "query",
        [
            {"q": "ticket 4711"},
            {"actor": "ada"},
            {"model": "tenants.tenant", "object": "7"},
            {"via": "api"},
            {"event": "read"},
            {},
        ],
        ids=["reason", "actor", "object", "via", "event", "all"],
    )
    def test_an_index_serves_each(self, auditor: User, query: dict[str, str]) -> None:
        """The planner is told not to read the whole table, as it will not want to when that is large."""
        factories.make_user("ada")
        found = AuditFilter(query, queryset=trail(auditor), request=None)
        assert found.is_valid()
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
        assert "Seq Scan on audit_auditentry" not in found.qs[:50].explain()


class TestExports:
    def test_json_lines_are_the_lines_that_were_sealed(
        self, client: Client, change: AuditEntry, auditor: User
    ) -> None:
        sealing.seal()
        response = client.get("/audit/", {"_export": "jsonl", "q": "4711"})
        assert response["Content-Type"].startswith("application/jsonl")
        (line,) = b"".join(response.streaming_content).splitlines()
        assert json.loads(line)["changes"] == {"name": ["Acme", "Acme & Sons"]}
        digests = dict(unpack(bytes(AuditSeal.objects.get().digests)))
        assert digests[change.pk] == hashlib.sha256(line).digest()
        export = AuditEntry.objects.latest("pk")
        assert (export.event, export.reason, export.actor) == (
            "export",
            "exports audit:list as JSON Lines",
            auditor,
        )

    @pytest.mark.parametrize("kind", ["csv", "jsonl"])
    def test_every_row_once_whatever_the_chunk(
        self, client: Client, change: AuditEntry, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from apps.audit import exports

        monkeypatch.setattr(exports, "CHUNK", 3)
        with factories.as_system():
            Tenant.objects.bulk_create([Tenant(key=f"same-{n}", name="x") for n in range(10)])
        before = AuditEntry.objects.count()
        lines = b"".join(client.get("/audit/", {"_export": kind}).streaming_content).splitlines()
        assert len(lines) - (kind == "csv") == before + 1  # and the export's own
        assert len(set(lines)) == len(lines)

    def test_bad_filters_export_nothing(self, client: Client, change: AuditEntry) -> None:
        assert b"".join(client.get("/audit/", {"_export": "jsonl", "object": "x"}).streaming_content) == b""

    def test_the_permission_is_needed(self, change: AuditEntry) -> None:
        user = factories.make_user()
        factories.make_role("looks", ["view", "see_audit"])
        factories.grant(user, "looks")
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        for kind in ("csv", "jsonl"):
            assert client.get("/audit/", {"_export": kind}).status_code == 403


class TestSeals:
    @pytest.fixture
    def sealed(self, change: AuditEntry) -> AuditSeal:
        (seal,) = sealing.seal()
        return seal

    def state(self, client: Client, entry: AuditEntry) -> Any:
        response = client.get("/audit/")
        return {row.record.pk: row.record.seal_state for row in response.context["table"].page.object_list}[
            entry.pk
        ]

    def test_each_row_tells_its_state(self, client: Client, sealed: AuditSeal, change: AuditEntry) -> None:
        assert (self.state(client, change).text, self.state(client, change).number) == ("sealed", 1)
        checking.check()
        assert self.state(client, change).text == "verified"
        with factories.as_system():
            Tenant.objects.create(key="later", name="x")
        assert self.state(client, AuditEntry.objects.latest("pk")).text == "not sealed yet"
        assert "seal #1" in client.get("/audit/").content.decode()

    def test_a_broken_row_is_told_where_it_stands(
        self, client: Client, sealed: AuditSeal, change: AuditEntry
    ) -> None:
        with superuser() as cursor:
            cursor.execute("UPDATE audit_auditentry SET reason = 'x' WHERE id = %s", [change.pk])
        text = client.get(reverse("audit:entry", args=[change.pk])).content.decode()
        assert "it is not what was sealed" in text
        checking.check()
        assert self.state(client, change).text == "broken"
        text = client.get(reverse("audit:seals")).content.decode()
        assert f"entry {change.pk}: changed" in text

    def test_an_entry_is_verified_as_it_is_looked_at(
        self, client: Client, sealed: AuditSeal, change: AuditEntry
    ) -> None:
        assert "as sealed" in client.get(reverse("audit:entry", args=[change.pk])).content.decode()
        with superuser() as cursor:
            cursor.execute("UPDATE audit_auditseal SET count = count + 1")
        text = client.get(reverse("audit:entry", args=[change.pk])).content.decode()
        assert "its seal is not whole" in text

    def test_the_page_of_seals(self, client: Client, sealed: AuditSeal) -> None:
        checking.check()
        text = client.get(reverse("audit:seals")).content.decode()
        for part in (sealed.hash[:16], "verified", "whole", "Public key", sealed.key_id):
            assert part in text, part

    def test_a_checkpoint_can_be_kept_elsewhere(
        self, client: Client, sealed: AuditSeal, tmp_path: Any
    ) -> None:
        path = tmp_path / "checkpoint.json"
        path.write_bytes(client.get(reverse("audit:checkpoint", args=[1])).content)
        assert outside.read_checkpoints([path]) == {1: sealed.hash}

    def test_the_pages_cost_the_same_for_few_and_for_many(
        self, client: Client, sealed: AuditSeal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        checking.check()
        pages = ("/audit/", reverse("audit:seals"))

        def costs() -> list[int]:
            found = []
            for page in pages:
                with CaptureQueriesContext(connection) as queries:
                    client.get(page)
                found.append(len(queries))
            return found

        costs()  # the first request of a session writes down that it began
        few = costs()
        monkeypatch.setattr(sealing, "LARGEST", 2)
        for _ in range(10):
            factories.make_tenant()
        assert len(sealing.seal()) > 5
        assert costs() == few
        assert max(few) <= 12

    def test_a_part_of_the_fleet_sees_no_seal(self, sealed: AuditSeal) -> None:
        user = factories.make_user()
        factories.grant(user, "admin", "account", factories.make_account())
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        assert sealed.hash[:16] not in client.get(reverse("audit:seals")).content.decode()
        assert client.get(reverse("audit:checkpoint", args=[1])).status_code == 404
