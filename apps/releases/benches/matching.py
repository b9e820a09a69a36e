"""Matching 1,000 advisories with 500 SBOMs of 500 components, and one new advisory."""

import json
import time
from collections.abc import Iterator

from django.db import transaction

from apps.access.models import User
from apps.access.services import system_actor
from apps.core.context import acting
from apps.fleet.benches.figures import Figure

from ..exposing import import_advisory, store_advice
from ..matching import match_advisories
from ..models import Advisory, AdvisoryMatch, Component, Release, ReleaseComponent
from ..osv import read_osv

SBOMS, COMPONENTS, ADVISORIES = 500, 500, 1_000


def matching(actor: User) -> Iterator[Figure]:
    """All anew, from nothing; then one more, with its exposure."""
    with acting(actor, reason="bench"):
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
        with transaction.atomic(), acting(system_actor("command"), reason="bench"):
            store_advice(read_osv(_osv(number)))
    AdvisoryMatch.objects.all().delete()
    advisories = list(Advisory.objects.all())
    began = time.perf_counter()
    match_advisories(advisories)
    name = f"{len(advisories):,} advisories matched with {SBOMS} SBOMs of {COMPONENTS}, cold"
    yield Figure(name, time.perf_counter() - began, "s", at_most=10)
    began = time.perf_counter()
    import_advisory(_osv(ADVISORIES), actor=actor)
    yield Figure("one new advisory, with its exposure", time.perf_counter() - began, "s", at_most=1)


def _osv(number: int) -> bytes:
    package = {"ecosystem": "PyPI", "name": f"package-{number % 2_000}"}
    events = [{"introduced": "1.0"}, {"fixed": f"1.{number % 7 + 1}.0"}]
    affected = [{"package": package, "ranges": [{"type": "ECOSYSTEM", "events": events}]}]
    return json.dumps({"id": f"BENCH-{number}", "affected": affected}).encode()
