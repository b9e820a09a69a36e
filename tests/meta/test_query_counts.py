"""Golden numbers of queries: each page costs what `query_counts.json` says, for 2 rows and for 50.

A page that has come to cost another number fails here. If that is meant, say so by
`DAYTWO_WRITE_QUERY_COUNTS=1 pytest tests/meta/test_query_counts.py` and let review see the difference.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.access.choices import ScopeKind
from apps.cost.urls import urlpatterns as money
from apps.fleet.models import AcmeOrder, Certificate, CertificateIssuer
from apps.operations.services import submit_many
from apps.releases.exposing import watch_exposure
from apps.releases.models import (
    Advisory,
    AdvisoryMatch,
    Artifact,
    BlastPolicy,
    ClockAsk,
    ClockStep,
    Component,
    CustomerNotice,
    Exclusion,
    Freeze,
    Hold,
    MetricSource,
    Release,
    ReleaseComponent,
    Ring,
    RingMember,
    Rollout,
    RolloutTarget,
    VexStatement,
    Wave,
    Window,
)
from tests import factories
from tests.cost.test_scopes import SENT
from tests.meta.books import Books

GOLDEN = Path(__file__).with_name("query_counts.json")
#: What a page may cost at most, the session, the reader and their scopes included.
BUDGET = 15
#: Pages that may cost more, and why.
COSTLIER = {
    "prepared rollout": 19,  # weighed once before it starts: what breaks at worst, holds, newcomers, other versions
}


class Fleet:
    """A fleet of one account that grows, and its operator, who is no superuser."""

    def __init__(self) -> None:
        self.account = factories.make_account("golden")
        self.cell = factories.make_cell("golden-cell", account=self.account)
        self.operator = factories.make_user("golden-operator")
        factories.grant(self.operator, "operator", ScopeKind.ACCOUNT, self.account)
        with factories.as_system():
            self.issuer = CertificateIssuer.objects.create(
                name="golden", account=self.account, directory_url="https://ca.example/dir", domain="a.test"
            )
        self.size = 0
        self.first: Any = None
        self.tenant: Any = None
        self.operation: Any = None
        self.release: Any = None
        self.rollout: Any = None
        self.draft: Any = None
        self.advisory: Any = None

    def grow(self, size: int) -> None:
        made = []
        for number in range(self.size, size):
            instance = factories.make_instance(f"golden-{number}", cell=self.cell)
            tenant = factories.make_tenant(f"golden-{number}", name=f"Golden {number}")
            factories.place(tenant, instance)
            self.certify(instance)
            self.first, self.tenant = self.first or instance, self.tenant or tenant
            self._rules(number, tenant)
            self._released(number, tenant, instance)
            made.append(instance)
        done = submit_many(
            kind="restart", target_ids=[i.pk for i in made], params={}, actor=self.operator, reason="golden"
        )
        self.operation = self.operation or done.operations[0]
        watch_exposure()
        self.size = size

    def certify(self, instance: Any) -> None:
        """It serves a certificate that was ordered of the account's issuer."""
        with factories.as_system():
            AcmeOrder.objects.create(
                issuer=self.issuer,
                instance=instance,
                operation_id=instance.pk,
                state="issued",
                names=["a.test"],
            )
        Certificate.objects.create(
            instance=instance, not_after=timezone.now(), key="Ed25519", is_ours=True, issued_by=self.issuer
        )

    def _rules(self, number: int, tenant: Any) -> None:
        """A window, a hold, a freeze and a ring each: what the rules' pages and the calendar list."""
        now = timezone.now()
        ends = now + timedelta(days=1)
        with factories.as_system():
            Window.objects.create(tenant=tenant, days=[number % 7], opens_at="22:00")
            ring = Ring.objects.create(name=f"golden {number}", position=number + 1)
            RingMember.objects.create(ring=ring, tenant=tenant)
            RingMember.objects.create(ring=ring, plan=factories.make_plan(f"golden-{number}"))
            Hold.objects.create(tenant=tenant, until=ends, reason="golden", set_by=self.operator)
            Freeze.objects.create(
                name=f"golden {number}", account=self.account, starts_at=now, ends_at=ends, reason="golden"
            )

            cell = factories.make_cell(f"golden-limits-{number}", account=self.account)
            ClockStep.objects.create(percent=50, name="golden", address=f"golden-{number}@example.com")
            MetricSource.objects.create(name=f"golden {number}", requests="x", errors="x", latency="x")
        self._limits(cell)

    def _limits(self, cell: Any) -> None:
        """One of each measure on a region and a cell, as one of them is raised."""
        with factories.as_system():
            for scope, pk in (("region", cell.region_id), ("cell", cell.pk)):
                for measure, currency in (
                    ("instances", ""),
                    ("tenants", ""),
                    ("cells", ""),
                    ("revenue", "EUR"),
                ):
                    BlastPolicy.objects.create(
                        scope=scope, object_id=pk, label="golden", measure=measure, currency=currency, max_percent=5,
                        wanted_percent=6, wanted_by=self.operator,
                    )  # fmt: skip

    def _released(self, number: int, tenant: Any, instance: Any) -> None:
        """A release with all that may be known of one, and what the first rollout and advisory have of this instance."""
        with factories.as_system():
            release = Release.objects.create(
                version=factories.VERSION if number == 0 else f"2.0.{number}",
                life="released",
                sbom_at=timezone.now(),
            )
            advisory = Advisory.objects.create(
                osv_id=f"golden-{number}", known_at=timezone.now(), deadline=timezone.now(), severity="high"
            )
            self.release, self.advisory = self.release or release, self.advisory or advisory
            component = Component.objects.create(package=f"pkg:pypi/golden-{number}", version="1.0")
            for one in {release, self.release}:
                ReleaseComponent.objects.create(release=one, component=component)
            for one in {advisory, self.advisory}:
                AdvisoryMatch.objects.create(advisory=one, component=component)
            Artifact.objects.create(release=self.release, name=f"golden-{number}", sha256="0" * 64)
            if number:
                stated = {"justification": "component_not_present", "reason": "x", "stated_by": self.operator}
                VexStatement.objects.create(advisory=self.advisory, release=release, **stated)
            ClockAsk.objects.create(advisory=self.advisory, percent=number, at=timezone.now(), exposed=1)
            self._rolled_out(number, release, tenant, instance)

    def _rolled_out(self, number: int, release: Any, tenant: Any, instance: Any) -> None:
        """Two rollouts of its own, one of them prepared; the first of both have a wave of this instance, and all else."""
        how = {"release": release, "reason": "golden", "started_by": self.operator, "advisory": self.advisory}
        rollout = Rollout.objects.create(**how, state="running", started_at=timezone.now())
        draft = Rollout.objects.create(**how, up_to_ring="golden 0")
        self.rollout, self.draft = self.rollout or rollout, self.draft or draft
        for one in {rollout, self.rollout, draft, self.draft}:
            Wave.objects.create(rollout=one, number=number + 1, size=1)
            RolloutTarget.objects.create(
                rollout=one, instance=instance, wave=number + 1, from_version="1.0.0", state="held", why="golden",
                operation_id=number + 1,
            )  # fmt: skip
        for one in (self.rollout, self.draft):
            Exclusion.objects.create(
                rollout=one, what="tenant", object_id=tenant.pk, label=tenant.key, reason="golden"
            )
            CustomerNotice.objects.create(
                tenant=tenant, rollout=one, subject="golden", body="x", written_by=self.operator
            )

    def pages(self) -> dict[str, str]:
        return {
            "fleet overview": reverse("fleet:overview"),
            "instances": reverse("fleet:instances"),
            "instance": reverse("fleet:instance", args=[self.first.pk]),
            "cells": reverse("fleet:cells"),
            "cell": reverse("fleet:cell", args=[self.cell.pk]),
            "tenants": reverse("tenants:list"),
            "tenant": reverse("tenants:tenant", args=[self.tenant.pk]),
            "lookup": reverse("tenants:lookup") + "?q=golden-0",
            "accounts": reverse("accounts:list"),
            "account": reverse("accounts:account", args=[self.account.pk]),
            "operations": reverse("operations:list"),
            "rules of change": reverse("releases:rules"),
            "rings": reverse("releases:rings"),
            "calendar": reverse("releases:calendar"),
            **self.pages_of_releases(),
            "operation": reverse("operations:operation", args=[self.operation.pk]),
            "palette": reverse("core:palette") + "?q=golden-0",
            "certificates": reverse("fleet:certificates"),
            "issuer": reverse("fleet:issuer", args=[self.issuer.pk]),
            "bar": reverse("core:bar"),
        }

    def pages_of_releases(self) -> dict[str, str]:
        release, rollout, advisory = [self.release.pk], [self.rollout.pk], [self.advisory.pk]
        other = Release.objects.exclude(pk=self.release.pk).values_list("pk", flat=True)[0]
        return {
            "releases": reverse("releases:list"),
            "release": reverse("releases:release", args=release),
            "two releases": reverse("releases:compare") + f"?a={self.release.pk}&b={other}",
            "rollouts": reverse("releases:rollouts"),
            "rollout": reverse("releases:rollout", args=rollout),
            "prepared rollout": reverse("releases:rollout", args=[self.draft.pk]),
            "rollout report": reverse("releases:report", args=rollout),
            "new rollout": reverse("releases:new_rollout") + f"?advisory={self.advisory.pk}",
            "new hot patch": reverse("releases:new_hot_patch"),
            "advisories": reverse("releases:advisories"),
            "advisory": reverse("releases:advisory", args=advisory),
            "burn-down": reverse("releases:burn_down", args=advisory),
            "customer notices": reverse("releases:notices"),
        }


def counts(fleet: Fleet) -> dict[str, int]:
    client = Client()
    client.force_login(fleet.operator, backend="django.contrib.auth.backends.ModelBackend")
    found = {}
    for name, url in fleet.pages().items():
        found[name] = asked(client, url, {})
    return found


def asked(client: Client, url: str, query: dict[str, str]) -> int:
    """How many queries a page costs, behind a first look that fills what a process keeps."""
    assert client.get(url, query).status_code == 200, url
    with CaptureQueriesContext(connection) as queries:
        client.get(url, query)
    return len(queries)


def golden(small: dict[str, int], large: dict[str, int]) -> None:
    """Both are the same, within the budget, and what the file says."""
    assert small == large
    assert {name: count for name, count in large.items() if count > COSTLIER.get(name, BUDGET)} == {}
    kept = json.loads(GOLDEN.read_text())
    if os.environ.get("DAYTWO_WRITE_QUERY_COUNTS"):
        kept |= large
        GOLDEN.write_text(json.dumps(kept, indent=1) + "\n")
    assert large == {name: kept.get(name) for name in large}


@pytest.mark.django_db
def test_each_page_costs_its_golden_number_of_queries_whatever_its_length() -> None:
    fleet = Fleet()
    fleet.grow(2)
    small = counts(fleet)
    fleet.grow(50)
    golden(small, counts(fleet))


def counts_of_money(books: Books) -> dict[str, int]:
    client = books.client()
    found = {name: asked(client, url, query) for name, (url, query) in books.pages().items()}
    # Taking in a table is a page too; it is sent, so the reader is one who keeps books.
    with CaptureQueriesContext(connection) as queries:
        sent = client.post(reverse("cost:bring", args=["usage"]), {"table": books.table()})
    assert sent.status_code == 302
    return found | {"cost bring": len(queries)}


@pytest.mark.django_db
def test_so_does_each_page_of_money() -> None:
    books = Books()
    books.grow(2)
    small = counts_of_money(books)
    books.grow(50)
    golden(small, counts_of_money(books))


def test_every_page_of_money_has_its_golden_number() -> None:
    """Addresses that answer with a page; the FOCUS file is none."""
    kept = {name.split()[1] for name in json.loads(GOLDEN.read_text()) if name.startswith("cost ")}
    assert {one.name for one in money if one.name not in (SENT - {"bring"}) | {"focus", "ledger"}} <= kept
    assert "book" in kept
