"""From an SBOM and an advisory to who is exposed, since when, and until when."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connections
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.access.models import User
from apps.core.models import Event
from apps.fleet.models import Instance
from apps.operations.services import Refused
from apps.releases import exposing, services
from apps.releases.choices import Severity
from apps.releases.escalating import ask_before_deadlines, set_hours
from apps.releases.exposing import import_advisory, state_not_affected, watch_exposure
from apps.releases.matching import matches_of
from apps.releases.models import Advisory, AdvisoryMatch, Component, Exposure, Release
from apps.releases.osv import is_affected, ordered_events, read_osv
from apps.releases.sbom import BadDocument, read_json, read_sbom
from apps.releases.services import upload_sbom
from tests.factories import grant, make_cell, make_user
from tests.releases.conftest import make_release

Fleet = Callable[[int], list[Instance]]


def cyclonedx(*purls: str) -> bytes:
    components = [{"type": "library", "name": purl, "purl": purl} for purl in purls]
    return json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.5", "components": components}).encode()


def spdx(*purls: str) -> bytes:
    packages = [
        {
            "name": purl,
            "SPDXID": f"SPDXRef-{n}",
            "externalRefs": [{"referenceType": "purl", "referenceLocator": purl}],
        }
        for n, purl in enumerate(purls)
    ]
    return json.dumps({"spdxVersion": "SPDX-2.3", "packages": packages}).encode()


def osv(
    name: str = "django", *, fixed: str = "4.2.16", osv_id: str = "GHSA-aaaa-bbbb-cccc", **more: Any
) -> bytes:
    document = {
        "id": osv_id,
        "aliases": ["CVE-2026-12345"],
        "modified": "2026-11-01T00:00:00Z",
        "summary": "SQL injection",
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": name},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}],
            }
        ],
        **more,
    }
    return json.dumps(document).encode()


# --- Documents -----------------------------------------------------------------------------------


@pytest.mark.parametrize("document", [cyclonedx, spdx])
def test_an_sbom_is_its_packages(document: Callable[..., bytes]) -> None:
    contents = read_sbom(
        document("pkg:pypi/Django@4.2.1", "pkg:npm/%40scope/left-pad@1.3.0", "pkg:pypi/nothing")
    )
    assert set(contents.components) == {("pkg:pypi/django", "4.2.1"), ("pkg:npm/%40scope/left-pad", "1.3.0")}
    assert contents.without_purl == 1


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"{}", b'{"bomFormat": "CycloneDX", "specVersion": "1.5", "components": "none"}',
     b'{"spdxVersion": "SPDX-2.3", "packages": {}}', b'{"spdxVersion": "SPDX-2.3", "packages": [1]}',
     cyclonedx(), b"\xff\xfe", b"[" * 100_000],
)  # fmt: skip
def test_a_bad_sbom_is_refused_and_changes_nothing(release: Release, boss: User, raw: bytes) -> None:
    with pytest.raises(BadDocument):
        upload_sbom(release, raw, actor=boss)
    assert not Component.objects.exists()


@pytest.mark.parametrize(
    "raw",
    [
        b"no json",
        b'{"id": 7}',
        osv(affected=[{"package": {"ecosystem": "PyPI", "name": "x"}}]),
        osv(affected=[{"package": {"ecosystem": "Nowhere", "name": "x"}}]),
        osv(affected=["x"]),
        osv(severity=[{"type": "CVSS_V3", "score": "nonsense"}]),
        osv(fixed="not a version !"),
        osv(
            affected=[
                {
                    "package": {"ecosystem": "PyPI", "name": "x"},
                    "ranges": [{"type": "ECOSYSTEM", "events": [{"fixed": "1.0"}, {"introduced": "2.0"}]}],
                }
            ]
        ),
    ],
)
def test_a_bad_advisory_is_refused_and_changes_nothing(boss: User, raw: bytes) -> None:
    with pytest.raises(BadDocument):
        import_advisory(raw, actor=boss)
    assert not Advisory.objects.exists()


@pytest.mark.parametrize(
    ("ecosystem", "events", "inside", "outside"),
    [
        ("PyPI", [{"introduced": "0"}, {"fixed": "4.2.16"}], ["4.2.9", "4.2.16rc1", "1.0"], ["4.2.16", "5.0"]),
        ("npm", [{"introduced": "1.0.0"}, {"last_affected": "1.4.2"}], ["1.0.0", "1.4.2"], ["0.9.0", "1.4.3"]),
        ("PyPI", [{"introduced": "1"}, {"fixed": "2"}, {"introduced": "3"}, {"fixed": "3.5"}], ["1.9", "3.1"], ["2.5", "3.5"]),
        ("Go", [{"introduced": "0"}, {"fixed": "0.17.0"}], ["0.16.1"], ["0.17.0"]),
        ("PyPI", [{"fixed": "10"}, {"introduced": "9"}], ["9.5"], ["8", "10"]),
    ],
)  # fmt: skip
def test_ranges_are_read_as_osv_says(
    ecosystem: str, events: list[Any], inside: list[str], outside: list[str]
) -> None:
    package = {"ecosystem": ecosystem, "name": "x"}
    advice = read_osv(
        osv(affected=[{"package": package, "ranges": [{"type": "ECOSYSTEM", "events": events}]}])
    )
    assert [is_affected(advice.affected[0], version) for version in inside] == [True] * len(inside)
    assert [is_affected(advice.affected[0], version) for version in outside] == [False] * len(outside)


# --- Exposure ------------------------------------------------------------------------------------


@pytest.fixture
def exposed(fleet: Fleet, boss: User) -> Advisory:
    """Three instances on 1.0.0, which holds an old Django."""
    fleet(3)
    upload_sbom(make_release("1.0.0"), cyclonedx("pkg:pypi/django@4.2.1", "pkg:pypi/idna@3.4"), actor=boss)
    upload_sbom(make_release("2.0.0"), cyclonedx("pkg:pypi/django@4.2.16", "pkg:pypi/idna@3.4"), actor=boss)
    return import_advisory(osv(), actor=boss)


def open_count(advisory: Advisory) -> int:
    return Exposure.objects.filter(advisory=advisory, until__isnull=True).count()


def test_an_advisory_exposes_who_runs_what_it_speaks_of(exposed: Advisory) -> None:
    assert exposed.severity == Severity.CRITICAL
    assert exposed.deadline - exposed.known_at == timedelta(hours=24)
    assert open_count(exposed) == 3
    assert AdvisoryMatch.objects.get().fixed_in == "4.2.16"


def test_an_sbom_that_comes_after_the_advisory_matches_too(fleet: Fleet, boss: User) -> None:
    fleet(2)
    advisory = import_advisory(osv(), actor=boss)
    assert open_count(advisory) == 0
    upload_sbom(make_release("1.0.0"), spdx("pkg:pypi/django@4.2.1"), actor=boss)
    assert watch_exposure() == (2, 0)
    assert watch_exposure() == (0, 0), "a second look opens nothing anew"


def test_who_moves_on_is_exposed_no_longer(exposed: Advisory) -> None:
    Instance.objects.filter(name="i-000").unrecorded_update(version="2.0.0")
    assert watch_exposure() == (0, 1)
    Instance.objects.unrecorded_update(version="2.0.0")
    assert watch_exposure() == (0, 2)
    assert Event.objects.filter(kind="advisory.over").count() == 1
    Instance.objects.filter(name="i-001").unrecorded_update(version="1.0.0")
    assert watch_exposure() == (1, 0), "who goes back is exposed again"


def test_a_statement_with_its_reason_takes_a_release_out(exposed: Advisory, boss: User) -> None:
    release = Release.objects.get(version="1.0.0")
    with pytest.raises(Refused, match="why"):
        state_not_affected(exposed, release=release, justification="code_not_present", reason="", actor=boss)
    state_not_affected(
        exposed,
        release=release,
        justification="vulnerable_code_not_in_execute_path",
        reason="no raw SQL",
        actor=boss,
    )
    assert open_count(exposed) == 0


def test_a_newer_state_of_an_advisory_replaces_it_and_keeps_the_clock(exposed: Advisory, boss: User) -> None:
    again = import_advisory(osv(fixed="4.2.1"), actor=boss)
    assert (again.pk, again.known_at) == (exposed.pk, exposed.known_at)
    assert open_count(exposed) == 0
    import_advisory(osv(withdrawn="2026-11-02T00:00:00Z"), actor=boss)
    assert open_count(exposed) == 0


def test_only_who_holds_it_everywhere_brings_advisories_in(db: None) -> None:
    cell = make_cell()
    olga = make_user("olga")
    grant(olga, "operator", "cell", cell)
    with pytest.raises(Refused, match="everything"):
        import_advisory(osv(), actor=olga)


def test_a_fleet_that_is_safe_is_not_warned(exposed: Advisory) -> None:
    Instance.objects.unrecorded_update(version="2.0.0")
    watch_exposure()
    with time_machine.travel(exposed.deadline, tick=False):
        assert ask_before_deadlines() == 0


# --- What is odd in documents ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        {"summary": "a \x00 in it"},
        {"details": "half of a pair: \ud800"},
        {"aliases": [""]},
        {"affected": [{"package": {"ecosystem": "PyPI", "name": "x"}, "versions": ["1\x00"]}]},
    ],
)  # fmt: skip
def test_an_odd_advisory_is_refused_in_words_and_changes_nothing(boss: User, more: dict[str, Any]) -> None:
    with pytest.raises(BadDocument):
        import_advisory(osv(**more), actor=boss)
    assert not Advisory.objects.exists()


def test_an_odd_score_is_refused_in_words(boss: User) -> None:
    from tests.releases.test_csaf import csaf

    document = json.loads(csaf())
    document["vulnerabilities"][0]["scores"] = [{"cvss_v3": {"baseScore": 7.55}}]
    with pytest.raises(BadDocument, match="score"):
        import_advisory(json.dumps(document).encode(), actor=boss)
    assert not Advisory.objects.exists()


def test_a_text_that_speaks_of_nul_is_taken(boss: User) -> None:
    made = import_advisory(osv(details="it ends at \\u0000 and goes on"), actor=boss)
    assert "\\u0000" in made.details


def test_an_sbom_with_what_cannot_be_kept_is_refused(release: Release, boss: User) -> None:
    with pytest.raises(BadDocument, match="NUL"):
        upload_sbom(
            release,
            cyclonedx("pkg:pypi/django@4.2.1", "pkg:pypi/a%00b@1").replace(b"pypi/a%00b", b"pypi/a\\u0000b"),
            actor=boss,
        )


@settings(deadline=None, max_examples=200)
@given(
    kind=st.sampled_from(["pypi", "npm", "maven", "golang", "cargo", "gem", "nuget", "composer", "hex", "deb", "apk", "generic"]),
    events=st.lists(st.tuples(st.sampled_from(["introduced", "fixed", "last_affected"]), st.text(max_size=12)), max_size=4),
    version=st.text(max_size=12),
)  # fmt: skip
def test_whatever_versions_a_document_names_they_are_read_or_refused(
    kind: str, events: list[tuple[str, str]], version: str
) -> None:
    try:
        ordered = ordered_events("pkg", kind, [[what, text] for what, text in events])
    except BadDocument:
        return
    entry = {"package": "pkg", "type": kind, "ranges": [ordered], "versions": []}
    assert is_affected(entry, version) in (True, False)
    matches_of(1, [entry], [(1, "pkg", version)])


# --- The clock -------------------------------------------------------------------------------------


def test_a_clock_that_runs_keeps_its_deadline_whatever_the_policy_becomes(boss: User) -> None:
    advisory = import_advisory(osv(), actor=boss)
    before = advisory.deadline
    set_hours(severity=Severity.CRITICAL, hours=72, actor=boss, reason="fewer people")
    again = import_advisory(osv(summary="in other words"), actor=boss)
    assert (again.pk, again.summary, again.deadline) == (advisory.pk, "in other words", before)
    milder = import_advisory(osv(severity=[], database_specific={"severity": "low"}), actor=boss)
    assert milder.deadline == milder.known_at + timedelta(days=30), "as bad as it is now known to be"


@pytest.mark.parametrize("text", ["\ud800", "a\x00b"])
def test_a_document_whose_texts_cannot_be_kept_is_refused(text: str) -> None:
    for document in (osv(text), osv(osv_id=text), cyclonedx(f"pkg:pypi/{text}@1")):
        with pytest.raises(BadDocument, match=r"NUL|surrogate"):
            read_json(document)


# --- At once ---------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("slow", ["advisory", "sbom"])
def test_an_advisory_and_an_sbom_that_come_at_once_find_each_other(
    boss: User, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """Neither may commit between the other's look and its end, or nobody would ever be told that they match."""
    release, began = make_release(), threading.Event()

    def lingers(match: Callable[[Any], int]) -> Callable[[Any], int]:
        def slowly(what: Any) -> int:
            found = match(what)
            began.set()
            time.sleep(0.5)
            return found

        return slowly

    if slow == "advisory":
        monkeypatch.setattr(exposing, "match_advisory", lingers(exposing.match_advisory))
    else:
        monkeypatch.setattr(services, "match_components", lingers(services.match_components))
    works: dict[str, Callable[[], object]] = {
        "advisory": lambda: import_advisory(osv(), actor=boss),
        "sbom": lambda: upload_sbom(release, cyclonedx("pkg:pypi/django@4.2.1"), actor=boss),
    }
    wrong: list[BaseException] = []

    def work(name: str) -> None:
        try:
            if name != slow:
                began.wait(10)
            works[name]()
        except BaseException as error:  # noqa: BLE001 - told to the test below
            wrong.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=[name]) for name in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert AdvisoryMatch.objects.count() == 1


def test_an_older_state_of_an_advisory_replaces_no_newer_one(boss: User) -> None:
    import_advisory(osv(modified="2026-11-10T00:00:00Z", withdrawn="2026-11-10T00:00:00Z"), actor=boss)
    with pytest.raises(Refused, match="newer state"):
        import_advisory(osv(modified="2026-11-01T00:00:00Z"), actor=boss)
    assert Advisory.objects.get().withdrawn
    assert import_advisory(osv(modified="2026-11-10T00:00:00Z"), actor=boss).withdrawn is False
