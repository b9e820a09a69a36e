"""`manage.py bench_releases`: measure what this app promises. Changes the database: give it one of its own."""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.access.models import User
from apps.access.services import system_actor
from apps.core.context import acting
from apps.fleet.seeding import seed
from apps.releases.exposing import import_advisory, store_advice
from apps.releases.matching import match_advisories
from apps.releases.models import Advisory, AdvisoryMatch, Component, Release, ReleaseComponent, Rollout
from apps.releases.osv import read_osv
from apps.releases.rollouts import prepare_rollout

SBOMS, COMPONENTS, ADVISORIES, FLEET = 500, 500, 1_000, 10_000


class Command(BaseCommand):
    help = "Planning and page of a rollout of 10,000; matching 1,000 advisories with 500 SBOMs of 500 components."

    def handle(self, *args: Any, **options: Any) -> None:
        with acting(system_actor("command"), reason="bench", via="command"):
            boss, _ = User.objects.get_or_create(username="bench-boss", defaults={"is_superuser": True})
        for bench in (_matching, _rollouts):
            for label, value in bench(boss):
                self.stdout.write(f"{label:<60} {value}")
                self.stdout.flush()


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def _rollouts(boss: User) -> Iterator[tuple[str, str]]:
    seed(instances=FLEET, tenants=FLEET // 2, actor=system_actor("command"))
    with acting(boss, reason="bench"):
        release = Release.objects.create(version="99.0.0", life="released")
    client = Client()
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    for query, name in (("q=sim-i-99", "about 100"), ("", f"{FLEET:,}")):
        rollout = Rollout(release=release, query=query, reason="bench", canary="1%")
        seconds, plan = _timed(partial(prepare_rollout, rollout, actor=boss))
        yield f"prepare a rollout to {name} ({plan.total:,} instances)", f"{seconds:.2f} s"
        with acting(boss, reason="bench"):
            Rollout.objects.filter(pk=rollout.pk).update(state="running", started_by=boss)
        url = reverse("releases:rollout", args=[rollout.pk])
        live = {"HX-Request": "true"}
        client.get(url, headers=live)
        with CaptureQueriesContext(connection) as queries:
            seconds = min(_timed(partial(client.get, url, headers=live))[0] for _ in range(5))
        yield f"its live page ({len(queries) // 5} queries)", f"{seconds * 1000:.0f} ms"


def _osv(number: int) -> bytes:
    package = {"ecosystem": "PyPI", "name": f"package-{number % 2_000}"}
    events = [{"introduced": "1.0"}, {"fixed": f"1.{number % 7 + 1}.0"}]
    affected = [{"package": package, "ranges": [{"type": "ECOSYSTEM", "events": events}]}]
    return json.dumps({"id": f"BENCH-{number}", "affected": affected}).encode()


def _matching(boss: User) -> Iterator[tuple[str, str]]:
    with acting(boss, reason="bench"):
        releases = Release.objects.bulk_create(
            [Release(version=f"b.{n}", life="released") for n in range(SBOMS)]
        )
    rows = [
        Component(package=f"pkg:pypi/package-{n % 2_000}", version=f"1.{n // 2_000}.0") for n in range(20_000)
    ]
    components = Component.objects.bulk_create(rows, batch_size=5_000)
    links = [
        ReleaseComponent(release=release, component=components[(n * 37 + i * 40) % len(components)])
        for n, release in enumerate(releases)
        for i in range(COMPONENTS)
    ]
    ReleaseComponent.objects.bulk_create(links, batch_size=10_000)
    for number in range(ADVISORIES - 1):
        _store(number)
    AdvisoryMatch.objects.all().delete()
    advisories = list(Advisory.objects.all())
    seconds, found = _timed(partial(match_advisories, advisories))
    label = (
        f"match {len(advisories):,} advisories with {SBOMS} SBOMs of {COMPONENTS} ({found:,} matches), cold"
    )
    yield label, f"{seconds:.2f} s"
    seconds, _ = _timed(partial(import_advisory, _osv(ADVISORIES), actor=boss))
    yield "one new advisory, with its exposure", f"{seconds:.2f} s"


def _store(number: int) -> None:
    with transaction.atomic(), acting(system_actor("command"), reason="bench"):
        store_advice(read_osv(_osv(number)))
