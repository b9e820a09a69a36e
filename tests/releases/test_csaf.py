"""Advisories in CSAF: what is affected, and documents that cannot be used."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.access.models import User
from apps.releases.csaf import read_advice
from apps.releases.exposing import import_advisory
from apps.releases.models import Advisory, AdvisoryMatch
from apps.releases.osv import is_affected
from apps.releases.sbom import BadDocument
from apps.releases.services import upload_sbom
from tests.releases.conftest import make_release
from tests.releases.test_exposure import cyclonedx, osv


def product(pk: str, purl: str) -> dict[str, Any]:
    return {"product_id": pk, "name": pk, "product_identification_helper": {"purl": purl}}


def csaf(
    *, versions: str = "vers:pypi/>=4.0|<4.2.16", status: dict[str, list[str]] | None = None, **head: Any
) -> bytes:
    branch = {
        "category": "product_version_range",
        "name": versions,
        "product": product("P1", "pkg:pypi/django"),
    }
    document = {
        "document": {
            "category": "csaf_security_advisory",
            "csaf_version": "2.0",
            "title": "SQL injection",
            "tracking": {"id": "ACME-2026-0007", "initial_release_date": "2026-11-01T10:00:00Z"},
            **head,
        },
        "product_tree": {
            "branches": [{"category": "vendor", "name": "django", "branches": [branch]}],
            "full_product_names": [product("P2", "pkg:pypi/django@5.0.1")],
        },
        "vulnerabilities": [
            {
                "cve": "CVE-2026-12345",
                "product_status": status or {"known_affected": ["P1", "P2"]},
                "scores": [{"cvss_v3": {"baseScore": 9.8}, "products": ["P1"]}],
            }
        ],
    }
    return json.dumps(document).encode()


def test_its_ranges_and_versions_say_what_is_affected() -> None:
    advice = read_advice(csaf())
    assert (advice.osv_id, advice.aliases, advice.severity) == (
        "ACME-2026-0007",
        ("CVE-2026-12345",),
        "critical",
    )
    [entry] = advice.affected
    affected = {v: is_affected(entry, v) for v in ("3.9", "4.0", "4.2.1", "4.2.16", "5.0.1", "5.0.2")}
    assert [v for v, hit in affected.items() if hit] == ["4.0", "4.2.1", "5.0.1"]


@pytest.mark.parametrize(
    ("versions", "inside", "outside"),
    [
        ("<2.0", "1.9", "2.0"),
        ("vers:pypi/<=2.0", "2.0", "2.0.1"),
        ("vers:pypi/1.5|>=3.0|<3.4", "3.1", "2.0"),
    ],
)
def test_a_range_may_be_open_closed_or_in_parts(versions: str, inside: str, outside: str) -> None:
    [entry] = read_advice(csaf(versions=versions, status={"known_affected": ["P1"]})).affected
    assert is_affected(entry, inside)
    assert not is_affected(entry, outside)


def test_it_is_matched_as_an_osv_document_is(db: None, boss: User) -> None:
    upload_sbom(make_release("1.0.0"), cyclonedx("pkg:pypi/django@4.2.1"), actor=boss)
    advisory = import_advisory(csaf(), actor=boss)
    assert AdvisoryMatch.objects.get().advisory == advisory
    assert AdvisoryMatch.objects.get().fixed_in == "4.2.16"
    assert import_advisory(csaf(title="Worse than thought"), actor=boss).pk == advisory.pk
    assert Advisory.objects.get().summary == "Worse than thought"


BAD = {
    "another version": (csaf(csaf_version="1.2"), "2.0 and 2.1 are read"),
    "no id": (csaf(tracking={}), "tracking.id"),
    "contradiction": (
        csaf(status={"known_affected": ["P1"], "fixed": ["P1"]}),
        "contradicts itself: P1 is affected by CVE-2026-12345, and is not",
    ),
    "no range": (csaf(versions="vers:pypi/>=>=1"), "no range of versions"),
    "nothing affected": (csaf(status={"fixed": ["P1"]}), "no affected product"),
    "branches": (b'{"document": {"csaf_version": "2.0", "tracking": {"id": "X"}}, "product_tree": {"branches": 3}}', "branches"),
    "other": (b'{"hello": 1}', "other formats are not read"),
    "both ends": (
        json.dumps(
            json.loads(osv())
            | {
                "affected": [
                    {
                        "package": {"ecosystem": "PyPI", "name": "x"},
                        "ranges": [
                            {
                                "type": "ECOSYSTEM",
                                "events": [{"introduced": "0"}, {"fixed": "2"}, {"last_affected": "3"}],
                            }
                        ],
                    }
                ]
            }
        ).encode(),
        "contradicts itself",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "words"), BAD.values(), ids=BAD.keys())
def test_a_document_that_cannot_be_used_says_why_and_changes_nothing(
    raw: bytes, words: str, boss: User
) -> None:
    with pytest.raises(BadDocument, match=words):
        import_advisory(raw, actor=boss)
    assert not Advisory.objects.exists()


@pytest.mark.parametrize("good", [csaf(), osv()], ids=["csaf", "osv"])
def test_no_garbage_gets_past_it(good: bytes) -> None:
    """Each part of a good document replaced by something of another type: read, or refused with words."""
    whole = json.loads(good)
    for path in list(_paths(whole)):
        for junk in (None, 3, "x", [], {}, [None], {"x": [3]}):
            document = json.loads(good)
            inner: Any = document
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = junk
            try:
                read_advice(json.dumps(document).encode())
            except BadDocument as said:
                assert str(said)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _paths(inner, (*path, key))
