"""What the pages show, to whom, and what they cost."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.access.models import User
from apps.fleet.models import Cell, Instance
from apps.releases.exposing import import_advisory
from apps.releases.models import Advisory, Release, Rollout
from apps.releases.services import upload_sbom
from tests.factories import grant, make_cell, make_instance, make_user
from tests.releases.conftest import make_release, run, start
from tests.releases.test_exposure import cyclonedx, osv

Fleet = Callable[[int], list[Instance]]


@pytest.fixture
def web(client: Client, boss: User) -> Client:
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    return client


def get(client: Client, name: str, *args: int, **query: object) -> str:
    response = client.get(reverse(f"releases:{name}", args=args), query)
    assert response.status_code == 200
    return str(response.content.decode())


def cost(client: Client, name: str, *args: int) -> int:
    get(client, name, *args)
    ContentType.objects.get_for_model(Instance)
    with CaptureQueriesContext(connection) as captured:
        get(client, name, *args)
    return len(captured)


def world(boss: User, count: int) -> tuple[Rollout, Advisory]:
    for number in range(count):
        make_release(f"0.{number}.0")
    release, _ = make_release("2.0.0"), make_release("1.0.0")
    upload_sbom(Release.objects.get(version="1.0.0"), cyclonedx("pkg:pypi/django@4.2.1"), actor=boss)
    upload_sbom(release, cyclonedx("pkg:pypi/django@4.2.16"), actor=boss)
    for number in range(count):
        advisory = import_advisory(osv(osv_id=f"GHSA-{number}"), actor=boss)
    return start(release, boss, canary="100%"), advisory


@pytest.mark.parametrize(
    "name", ["list", "rollouts", "advisories", "rollout", "advisory", "rules", "release"]
)
def test_pages_cost_the_same_whatever_their_length(fleet: Fleet, boss: User, web: Client, name: str) -> None:
    fleet(2)
    rollout, advisory = world(boss, 2)
    args = {"rollout": [rollout.pk], "advisory": [advisory.pk], "release": [rollout.release_id]}.get(name, [])
    few = cost(web, name, *args)
    cell = make_cell()
    for number in range(18):
        make_instance(f"more-{number}", cell=cell)
    for number in range(2, 20):
        make_release(f"0.{number}.0")
        latest = import_advisory(osv(osv_id=f"GHSA-{number}"), actor=boss)
    again = start(make_release("2.0.1"), boss, canary="100%")
    args = {"rollout": [again.pk], "advisory": [latest.pk], "release": [rollout.release_id]}.get(name, [])
    many = cost(web, name, *args)
    assert few == many
    assert many <= {"rollout": 15}.get(name, 22)


def test_a_release_goes_from_draft_to_out_in_pages(boss: User, web: Client) -> None:
    web.post(
        reverse("releases:new"),
        {"version": "5.0.0", "kind": "security", "severity": "high", "cves": "cve-2026-12345"},
    )
    release = Release.objects.get()
    assert release.cves == ["CVE-2026-12345"]
    document = SimpleUploadedFile("sbom.json", cyclonedx("pkg:pypi/django@4.2.1"))
    web.post(reverse("releases:upload_sbom", args=[release.pk]), {"document": document})
    for to in ("candidate", "released"):
        web.post(reverse("releases:move", args=[release.pk]), {"to": to, "reason": "as planned"})
    shown = get(web, "release", release.pk)
    assert "pkg:pypi/django" in shown
    assert "released" in shown


def test_an_error_names_what_is_wrong_and_changes_nothing(boss: User, web: Client, settings: object) -> None:
    release = make_release(life="draft")
    settings.RELEASE_UPLOAD_MAX_BYTES = 100  # type: ignore[attr-defined]
    large = SimpleUploadedFile("sbom.json", b" " * 200)
    response = web.post(reverse("releases:upload_sbom", args=[release.pk]), {"document": large})
    assert response.status_code == 422
    assert "are the most" in response.content.decode()
    bad = SimpleUploadedFile("osv.json", b"{}")
    response = web.post(reverse("releases:import_advisory"), {"document": bad})
    assert response.status_code == 422
    assert "needs an “id”" in response.content.decode()


def test_from_an_advisory_to_a_prepared_rollout_is_two_clicks(fleet: Fleet, boss: User, web: Client) -> None:
    fleet(2)
    upload_sbom(make_release("1.0.0"), cyclonedx("pkg:pypi/django@4.2.1"), actor=boss)
    upload_sbom(make_release("2.0.0"), cyclonedx("pkg:pypi/django@4.2.16"), actor=boss)
    advisory = import_advisory(osv(), actor=boss)
    shown = web.get(reverse("releases:advisory", args=[advisory.pk]))
    fix, url = shown.context["page"].fixes[0]
    assert fix.version == "2.0.0"
    form = web.get(url).context["form"]
    values = {name: form[name].value() for name in form.fields}
    data = {name: value for name, value in values.items() if value is not None}
    assert web.post(url, {**data, "advisory": advisory.pk}).status_code == 302
    rollout = Rollout.objects.get()
    assert (rollout.advisory, rollout.targets.count()) == (advisory, 2)
    assert "At worst at once" in get(web, "rollout", rollout.pk)


def test_a_rollout_tells_its_waves_its_gates_and_its_report(
    fleet: Fleet, release: Release, boss: User, web: Client
) -> None:
    fleet(4)
    rollout = run(start(release, boss))
    shown = get(web, "rollout", rollout.pk)
    assert "All of 1 changed and well." in shown
    assert 'data-live="1"' not in shown, "it has ended"
    report = json.loads(get(web, "report", rollout.pk))
    assert {i["state"] for i in report["instances"]} == {"done"}
    assert report["instances"][0]["tenants"]


def test_who_sees_a_part_of_the_fleet_sees_that_part_of_a_rollout(
    fleet: Fleet, release: Release, boss: User, cell: Cell, client: Client
) -> None:
    fleet(2)
    make_instance("secret-one", cell=make_cell())
    rollout = start(release, boss)
    olga = make_user("olga")
    grant(olga, "operator", "cell", cell)
    client.force_login(olga, backend="django.contrib.auth.backends.ModelBackend")
    shown = get(client, "rollout", rollout.pk)
    assert "i-000" in shown
    assert "secret-one" not in shown
    assert "of 2 instances" in shown
    assert "secret-one" not in get(client, "report", rollout.pk)


def test_two_releases_side_by_side(boss: User, web: Client) -> None:
    first, second = make_release("1.0.0"), make_release("2.0.0")
    upload_sbom(first, cyclonedx("pkg:pypi/django@4.2.1", "pkg:pypi/old@1"), actor=boss)
    upload_sbom(second, cyclonedx("pkg:pypi/django@4.2.16", "pkg:pypi/new@1"), actor=boss)
    import_advisory(osv(), actor=boss)
    difference = web.get(reverse("releases:compare"), {"a": first.pk, "b": second.pk}).context["difference"]
    assert difference.changed == [("pkg:pypi/django", "4.2.1", "4.2.16", "upgraded")]
    assert (difference.added, difference.removed) == ([("pkg:pypi/new", "1")], [("pkg:pypi/old", "1")])
    assert [str(a) for a in difference.fixed] == ["GHSA-aaaa-bbbb-cccc"]
    assert difference.brought == []


def test_the_palette_finds_releases_and_advisories(boss: User, web: Client) -> None:
    make_release("7.7.7", cves=["CVE-2026-7777"])
    import_advisory(osv(), actor=boss)
    for text, found in (
        ("7.7", "7.7.7"),
        ("CVE-2026-7777", "7.7.7"),
        ("cve-2026-12345", "GHSA-aaaa-bbbb-cccc"),
    ):
        assert found in web.get(reverse("core:palette"), {"q": text}).content.decode()
