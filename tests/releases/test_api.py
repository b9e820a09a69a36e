"""What CI and feeds send with a token: the same doors as the pages, and nothing half done."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from apps.access import tokens
from apps.access.choices import ScopeKind
from apps.access.models import User
from apps.audit.models import AuditEntry
from apps.releases.models import Advisory, Release, ReleaseComponent, Ring, RingMember
from tests.factories import (
    as_system,
    grant,
    make_account,
    make_cell,
    make_instance,
    make_plan,
    make_tenant,
    make_user,
    place,
)
from tests.releases.conftest import make_release
from tests.releases.test_csaf import csaf
from tests.releases.test_exposure import cyclonedx, osv


def issue(owner: User, *permissions: str) -> str:
    return tokens.issue(owner=owner, name="ci", permissions=permissions, days=7)[1]


@pytest.fixture
def ci(boss: User) -> str:
    return issue(boss, "view", "manage_releases")


def post(secret: str, path: str, raw: bytes) -> Any:
    return Client(enforce_csrf_checks=True).post(
        f"/api/v1/{path}",
        raw,
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}"},
    )


def test_ci_drafts_a_release_and_tells_what_it_is_made_of(ci: str, boss: User) -> None:
    body = {"version": "5.1.0", "kind": "security", "severity": "high", "cves": ["CVE-2026-12345"]}
    assert post(ci, "releases", json.dumps(body).encode()).status_code == 201
    answer = post(ci, "releases/5.1.0/sbom", cyclonedx("pkg:pypi/django@4.2.1"))
    assert (answer.status_code, answer.json()["components"]) == (200, 1)
    release = Release.objects.get()
    assert (release.life, release.cves, release.contents.count()) == ("draft", ["CVE-2026-12345"], 1)
    assert AuditEntry.objects.filter(actor=boss, object_repr="5.1.0").exists()
    shown = Client().get("/api/v1/releases?version=5.1.0", headers={"Authorization": f"Bearer {ci}"}).json()
    assert shown["results"][0]["sbom_sha256"] == release.sbom_sha256


@pytest.mark.parametrize("raw", [osv(), csaf()], ids=["osv", "csaf"])
def test_a_feed_sends_an_advisory_twice_and_there_is_one(ci: str, raw: bytes) -> None:
    first, second = post(ci, "advisories", raw), post(ci, "advisories", raw)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json()["id"] == second.json()["id"] == Advisory.objects.get().pk
    assert first.json()["deadline"] == second.json()["deadline"]


def test_the_token_and_its_owner_must_both_hold_the_permission(boss: User, ci: str) -> None:
    make_release("1.0.0")
    looker = make_user("looker")
    grant(looker, "viewer")
    for secret in (issue(boss, "view"), issue(looker, "view")):
        for path, raw in (
            ("advisories", osv()),
            ("releases/1.0.0/sbom", cyclonedx("pkg:pypi/x@1")),
            ("releases", b'{"version": "9"}'),
        ):
            assert post(secret, path, raw).status_code == 403
    assert post("dt_nothing", "advisories", osv()).status_code == 401
    assert not Advisory.objects.exists()
    assert Release.objects.count() == 1


def test_what_is_wrong_is_said_and_nothing_is_changed(ci: str, boss: User) -> None:
    release = make_release("1.0.0")
    post(ci, "releases/1.0.0/sbom", cyclonedx("pkg:pypi/django@4.2.1"))
    before = list(ReleaseComponent.objects.values_list("pk", "component_id"))
    for path, raw, status, words in (
        ("releases/1.0.0/sbom", b"{", 422, "as JSON"),
        ("releases/1.0.0/sbom", b'{"bomFormat": "CycloneDX", "components": 3}', 422, "CycloneDX"),
        ("releases/1.0.0/sbom", cyclonedx("pkg:pypi/noversion"), 422, "nothing could be matched"),
        ("releases/9.9.9/sbom", cyclonedx("pkg:pypi/x@1"), 404, "draft it first"),
        ("releases", b'{"version": "a b"}', 422, "A version has"),
        ("releases", b'{"version": "1.0.0"}', 422, "already exists"),
        ("releases", b'{"version": ["1"]}', 400, "texts"),
        ("advisories", b"[]", 422, "JSON object"),
    ):
        answer = post(ci, path, raw)
        assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.content
    release.refresh_from_db()
    assert list(ReleaseComponent.objects.values_list("pk", "component_id")) == before
    assert not Advisory.objects.exists()


def test_fifty_megabytes_are_refused(ci: str) -> None:
    make_release("1.0.0")
    large = b'{"bomFormat": "CycloneDX", "x": "' + b"x" * 50_000_000 + b'"}'
    for path in ("releases/1.0.0/sbom", "advisories"):
        answer = post(ci, path, large)
        assert (answer.status_code, "too large" in answer.json()["error"]) == (422, True)


def test_rings_are_told_with_their_places_and_how_many_the_owner_sees(boss: User) -> None:
    here, there = (make_account(name) for name in ("here", "there"))
    with as_system():
        late, soon = (
            Ring.objects.create(name=n, position=p, rest_seconds=p * 60) for n, p in (("b", 2), ("a", 1))
        )
        for account in (here, there):
            tenant = make_tenant(f"of-{account}")
            place(tenant, make_instance(cell=make_cell(account=account)))
            RingMember.objects.create(ring=late, tenant=tenant)
        RingMember.objects.create(ring=soon, plan=make_plan("Gold"))
    looker = make_user("looker")
    grant(looker, "viewer", ScopeKind.ACCOUNT, here)

    def told(secret: str) -> list[dict[str, Any]]:
        answer = Client().get("/api/v1/rings", headers={"Authorization": f"Bearer {secret}"})
        return sorted(answer.json()["results"], key=lambda ring: int(ring["position"]))

    rings = told(issue(boss, "view"))
    assert rings[0] == {
        "id": soon.pk, "name": "a", "position": 1, "description": "", "rest_seconds": 60, "lets_security_through": True,
        "plans": ["Gold"], "tenants": 0,
    }  # fmt: skip
    assert [(ring["name"], ring["tenants"]) for ring in rings] == [("a", 0), ("b", 2)]
    assert [(ring["name"], ring["tenants"]) for ring in told(issue(looker, "view"))] == [("a", 0), ("b", 1)]
    assert Client().get("/api/v1/rings").status_code == 401
