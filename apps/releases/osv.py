"""Advisories in the OSV format, version 1 (ossf.github.io/osv-schema): reading one, and asking whether a version is affected."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from cvss import CVSS2, CVSS3, CVSS4
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from packageurl import PackageURL
from univers.version_range import RANGE_CLASS_BY_SCHEMES

from .choices import Severity
from .sbom import BadDocument, listed, package_of, read_json

#: OSV ecosystem → purl type.
ECOSYSTEMS = {
    "pypi": "pypi", "npm": "npm", "maven": "maven", "go": "golang", "crates.io": "cargo", "rubygems": "gem",
    "nuget": "nuget", "packagist": "composer", "hex": "hex", "debian": "deb", "ubuntu": "deb", "alpine": "apk",
}  # fmt: skip
#: Ecosystems whose purls carry the distribution as their namespace.
DISTRIBUTIONS = {"debian": "debian", "ubuntu": "ubuntu", "alpine": "alpine"}
MAX_AFFECTED = 2_000


@dataclass(frozen=True, slots=True)
class Advice:
    """What an OSV document says, in our words. `affected`: by package, its ranges (lists of events) and versions."""

    osv_id: str
    aliases: tuple[str, ...] = ()
    summary: str = ""
    details: str = ""
    severity: str = Severity.NONE
    score: Decimal | None = None
    published_at: datetime | None = None
    modified: str = ""
    is_withdrawn: bool = False
    affected: list[dict[str, Any]] = field(default_factory=list)


@lru_cache(maxsize=200_000)
def parse_version(purl_type: str, text: str) -> Any:
    """A version that compares as its ecosystem compares; ValueError where it reads none."""
    scheme: Any = RANGE_CLASS_BY_SCHEMES.get(purl_type) or RANGE_CLASS_BY_SCHEMES["generic"]
    try:
        return scheme.version_class(text)
    except Exception as error:
        raise ValueError(f"“{text}” is no version as {purl_type} writes them.") from error


def read_osv(raw: bytes) -> Advice:
    """An OSV document; BadDocument names the first thing that is wrong with it."""
    return osv_advice(read_json(raw))


def osv_advice(document: Mapping[str, Any]) -> Advice:
    """What an OSV document says."""
    osv_id = document.get("id")
    if not isinstance(osv_id, str) or not osv_id or len(osv_id) > 60:
        raise BadDocument(
            "An OSV document needs an “id” of at most 60 letters, a CSAF document a “document”; other formats are not read."
        )
    entries = listed(document, "affected")
    if len(entries) > MAX_AFFECTED:
        raise BadDocument(f"“affected” must be a list of at most {MAX_AFFECTED:,} packages.")
    affected = [found for entry in entries if (found := _affected(entry)) is not None]
    if not affected and not document.get("withdrawn"):
        raise BadDocument(
            f"{osv_id} names no package of an ecosystem that is known here ({', '.join(ECOSYSTEMS)})."
        )
    severity, score = _severity(document)
    return Advice(
        osv_id=osv_id,
        aliases=tuple(str(alias)[:60] for alias in listed(document, "aliases"))[:50],
        summary=" ".join(str(document.get("summary") or "").split())[:300],
        details=str(document.get("details") or "")[:20_000],
        severity=severity,
        score=score,
        published_at=time_of(document.get("published")),
        modified=str(document.get("modified") or "")[:40],
        is_withdrawn=bool(document.get("withdrawn")),
        affected=affected,
    )


def time_of(text: Any) -> datetime | None:
    """A time as documents write it; None where it reads none."""
    try:
        found = parse_datetime(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return timezone.make_aware(found) if found and timezone.is_naive(found) else found


def _affected(entry: Any) -> dict[str, Any] | None:
    """One package with its ranges, or None for an ecosystem that is not known here."""
    if not isinstance(entry, dict) or not isinstance(entry.get("package"), dict):
        raise BadDocument("Each of “affected” must be an object with a “package”.")
    purl = _purl(entry["package"])
    if purl is None:
        return None
    package = package_of(purl)
    ranges = [
        _events(package, purl.type, found.get("events"))
        for found in listed(entry, "ranges")
        if isinstance(found, dict) and found.get("type") in ("SEMVER", "ECOSYSTEM")
    ]
    versions = [str(version) for version in listed(entry, "versions")]
    if not ranges and not versions:
        raise BadDocument(f"{package} has neither ranges nor versions, so nobody can tell what is affected.")
    return {"package": package, "type": purl.type, "ranges": ranges, "versions": versions}


def _purl(package: Mapping[str, Any]) -> PackageURL | None:
    if text := package.get("purl"):
        try:
            return PackageURL.from_string(str(text))
        except ValueError as error:
            raise BadDocument(f"“{text}” is no package URL: {error}.") from error
    ecosystem, _, _ = str(package.get("ecosystem", "")).partition(":")
    purl_type, name = ECOSYSTEMS.get(ecosystem.lower()), str(package.get("name") or "")
    if purl_type is None or not name:
        return None
    namespace = DISTRIBUTIONS.get(ecosystem.lower(), "")
    if purl_type == "maven":
        namespace, _, name = name.rpartition(":")
    elif not namespace and purl_type in ("npm", "golang", "composer"):
        namespace, _, name = name.rpartition("/")
    return PackageURL(purl_type, namespace or None, name)


def _events(package: str, purl_type: str, events: Any) -> list[list[str]]:
    """The events of a range as [what, version] in the versions' order; what contradicts itself is refused."""
    if not isinstance(events, list) or not events:
        raise BadDocument(f"A range of {package} has no events.")
    pairs = [
        [what, str(event[what])]
        for event in events
        if isinstance(event, dict)
        for what in ("introduced", "fixed", "last_affected")
        if what in event
    ]
    return ordered_events(package, purl_type, pairs)


def ordered_events(package: str, purl_type: str, pairs: list[list[str]]) -> list[list[str]]:
    """[what, version] pairs of one range in the versions' order. Raises BadDocument for what contradicts itself."""
    if {"fixed", "last_affected"} <= {what for what, _ in pairs}:
        raise BadDocument(
            f"A range of {package} contradicts itself: it says both where it is fixed and which is the last affected."
        )
    try:
        ordered = sorted(pairs, key=lambda pair: _place(purl_type, pair))
    except ValueError as error:
        raise BadDocument(f"A range of {package} cannot be read: {error}") from error
    if not ordered or ordered[0][0] != "introduced":
        raise BadDocument(
            f"A range of {package} contradicts itself: nothing is introduced before it is fixed."
        )
    return ordered


class _Least:
    """Version “0” of an OSV range: before all others."""

    def __lt__(self, other: Any) -> bool:
        return not isinstance(other, _Least)

    def __gt__(self, other: Any) -> bool:
        return False


def _place(purl_type: str, pair: list[str]) -> tuple[Any, int]:
    version = _Least() if pair == ["introduced", "0"] else parse_version(purl_type, pair[1])
    # At one version: what is fixed there is fixed before something is introduced there anew.
    return version, {"fixed": 0, "introduced": 1, "last_affected": 2}[pair[0]]


def is_affected(entry: Mapping[str, Any], version: str) -> bool:
    """Whether a version lies in one of the entry's ranges or is named by it (OSV's evaluation algorithm).

    A version that its ecosystem cannot read counts as affected only where it is named.
    """
    if version in entry["versions"]:
        return True
    try:
        mine = parse_version(entry["type"], version)
    except ValueError:
        return False
    return any(_is_inside(events, entry["type"], mine) for events in entry["ranges"])


def _is_inside(events: list[list[str]], purl_type: str, mine: Any) -> bool:
    inside = False
    for what, text in events:
        if what == "introduced":
            inside = inside or text == "0" or mine >= parse_version(purl_type, text)
        elif what == "fixed":
            inside = inside and mine < parse_version(purl_type, text)
        else:
            inside = inside and mine <= parse_version(purl_type, text)
    return inside


def fixed_in(entry: Mapping[str, Any], version: str) -> str:
    """The first version after this one that is fixed; empty where none is known."""
    mine = parse_version(entry["type"], version)
    later = [
        text
        for events in entry["ranges"]
        for what, text in events
        if what == "fixed" and parse_version(entry["type"], text) > mine
    ]
    return min(later, key=lambda text: parse_version(entry["type"], text), default="")


SCALE = ((9, Severity.CRITICAL), (7, Severity.HIGH), (4, Severity.MEDIUM), (0.1, Severity.LOW))


def _severity(document: Mapping[str, Any]) -> tuple[str, Decimal | None]:
    """The highest CVSS score the document gives, or the word its database uses."""
    scores = [found for entry in listed(document, "severity") if (found := _score(entry)) is not None]
    if scores:
        score = max(scores)
        return next((severity for least, severity in SCALE if score >= least), Severity.NONE), score
    specific = document.get("database_specific")
    word = str(specific.get("severity", "") if isinstance(specific, dict) else "").lower()
    word = {"moderate": "medium", "important": "high"}.get(word, word)
    # An advisory that does not say how bad it is is taken for bad.
    return (word if word in Severity.values else Severity.HIGH), None


def _score(entry: Any) -> Decimal | None:
    if not isinstance(entry, dict):
        return None
    scales = {"CVSS_V2": CVSS2, "CVSS_V3": CVSS3, "CVSS_V4": CVSS4}
    scale = scales.get(str(entry.get("type")))
    try:
        return Decimal(str(scale(str(entry.get("score"))).scores()[0])) if scale else None
    except Exception as error:
        raise BadDocument(f"“{entry.get('score')}” is no {entry.get('type')} vector: {error}") from error
