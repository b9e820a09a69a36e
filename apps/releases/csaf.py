"""Advisories in the CSAF format, 2.0 and 2.1 (docs.oasis-open.org/csaf): products by purl, versions by `vers:` ranges."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from packageurl import PackageURL
from univers.version_range import VersionRange

from .choices import Severity
from .osv import MAX_AFFECTED, SCALE, Advice, ordered_events, osv_advice, time_of
from .sbom import BadDocument, listed, package_of, read_json

#: Statuses of a product that say it is affected, and those that say it is not (CSAF 3.2.3.9).
AFFECTED = ("known_affected", "first_affected", "last_affected")
SAFE = ("known_not_affected", "fixed", "first_fixed")
#: How a `vers:` comparator reads as an OSV event. “More than” is taken as “from”: one version too many is the safe side.
EVENTS = {">=": "introduced", ">": "introduced", "<": "fixed", "<=": "last_affected"}
#: Products nested deeper than this are no product tree.
DEEPEST = 30


@dataclass(frozen=True, slots=True)
class Product:
    """A product of the tree: its package, and the version or the range of versions that it stands for."""

    purl: PackageURL
    range: str = ""


def read_advice(raw: bytes) -> Advice:
    """An advisory in CSAF or OSV, whichever it is; BadDocument names the first thing that is wrong with it."""
    document = read_json(raw)
    return csaf_advice(document) if isinstance(document.get("document"), dict) else osv_advice(document)


def csaf_advice(document: Mapping[str, Any]) -> Advice:
    """What a CSAF document says. All its vulnerabilities are one advisory, with their CVEs as its aliases."""
    head: Mapping[str, Any] = document["document"]
    tracking = head.get("tracking")
    name = tracking.get("id") if isinstance(tracking, dict) else None
    if not isinstance(tracking, dict) or not isinstance(name, str) or not 0 < len(name) <= 60:
        raise BadDocument("A CSAF document needs “document.tracking.id” of at most 60 letters.")
    if not str(head.get("csaf_version", "")).startswith("2."):
        raise BadDocument(f"{name} says CSAF version “{head.get('csaf_version')}”; 2.0 and 2.1 are read.")
    vulnerabilities = listed(document, "vulnerabilities")
    if not all(isinstance(one, dict) for one in vulnerabilities):
        raise BadDocument(f"“vulnerabilities” of {name} must be a list of objects.")
    products = dict(_products(document.get("product_tree"), name))
    affected = _merged(entry for one in vulnerabilities for entry in _affected(name, one, products))
    if not affected:
        raise BadDocument(
            f"{name} names no affected product with a package URL, so nothing could be matched with it."
        )
    if len(affected) > MAX_AFFECTED:
        raise BadDocument(f"{name} names {len(affected):,} packages; {MAX_AFFECTED:,} are the most.")
    severity, score = _severity(head, vulnerabilities)
    notes = [str(note.get("text", "")) for note in listed(head, "notes") if isinstance(note, dict)]
    return Advice(
        osv_id=name,
        aliases=tuple(str(one["cve"])[:60] for one in vulnerabilities if one.get("cve"))[:50],
        summary=" ".join(str(head.get("title") or "").split())[:300],
        details="\n\n".join(notes)[:20_000],
        severity=severity,
        score=score,
        published_at=time_of(tracking.get("initial_release_date")),
        modified=str(tracking.get("current_release_date") or "")[:40],
        affected=affected,
    )


# --- Products ------------------------------------------------------------------------------------


def _products(tree: Any, name: str) -> Iterator[tuple[str, Product]]:
    if not isinstance(tree, dict):
        raise BadDocument(f"{name} has no “product_tree”.")
    for one in listed(tree, "full_product_names"):
        yield from _product(one, "")
    yield from _branches(listed(tree, "branches"), 0)
    for one in listed(tree, "relationships"):
        if isinstance(one, dict):
            yield from _product(one.get("full_product_name"), "")


def _branches(branches: Any, depth: int) -> Iterator[tuple[str, Product]]:
    if not isinstance(branches, list) or depth > DEEPEST:
        raise BadDocument("“branches” of the product tree must be lists, nested a few levels deep.")
    for branch in branches:
        if isinstance(branch, dict):
            is_range = branch.get("category") == "product_version_range"
            yield from _product(branch.get("product"), str(branch.get("name") or "") if is_range else "")
            yield from _branches(listed(branch, "branches"), depth + 1)


def _product(found: Any, versions: str) -> Iterator[tuple[str, Product]]:
    if not isinstance(found, dict):
        return
    helper = found.get("product_identification_helper")
    texts = [helper.get("purl"), *(listed(helper, "purls"))] if isinstance(helper, dict) else []
    for text in texts[:1] if texts and texts[0] else texts[1:2]:
        try:
            purl = PackageURL.from_string(str(text))
        except ValueError as error:
            raise BadDocument(f"“{text}” is no package URL: {error}.") from error
        yield str(found.get("product_id")), Product(purl, versions)


# --- What is affected ----------------------------------------------------------------------------


def _affected(
    name: str, vulnerability: Mapping[str, Any], products: Mapping[str, Product]
) -> Iterator[dict[str, Any]]:
    status = vulnerability.get("product_status")
    if not isinstance(status, dict):
        return
    bad = {str(pk) for key in AFFECTED for pk in listed(status, key)}
    safe = {str(pk) for key in SAFE for pk in listed(status, key)}
    if both := sorted(bad & safe):
        what = vulnerability.get("cve") or name
        raise BadDocument(f"{name} contradicts itself: {both[0]} is affected by {what}, and is not.")
    for pk in sorted(bad & products.keys()):
        yield _entry(name, products[pk])


def _entry(name: str, product: Product) -> dict[str, Any]:
    package, kind = package_of(product.purl), product.purl.type
    entry: dict[str, Any] = {"package": package, "type": kind, "ranges": [], "versions": []}
    if product.range:
        events, entry["versions"] = _events(package, kind, product.range)
        entry["ranges"] = [events] if events else []
    elif product.purl.version:
        entry["versions"] = [product.purl.version]
    if not entry["ranges"] and not entry["versions"]:
        raise BadDocument(
            f"{name}: {package} has neither a version nor a range, so nobody can tell what is affected."
        )
    return entry


def _events(package: str, kind: str, text: str) -> tuple[list[list[str]], list[str]]:
    """A `vers:` range (or its constraints alone) as OSV events, and the versions it names singly."""
    whole = text if text.startswith("vers:") else f"vers:{kind}/{text}"
    try:
        constraints = VersionRange.from_string(whole).constraints  # type: ignore[no-untyped-call]
    except Exception as error:
        raise BadDocument(f"“{text[:80]}” is no range of versions of {package}: {error}") from error
    versions = [str(one.version) for one in constraints if one.comparator == "="]
    pairs = [[EVENTS[one.comparator], str(one.version)] for one in constraints if one.comparator in EVENTS]
    if not pairs:
        return [], versions
    # A range that begins with an upper bound begins at the beginning.
    if pairs[0][0] != "introduced":
        pairs.insert(0, ["introduced", "0"])
    return ordered_events(package, kind, pairs), versions


def _merged(entries: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each package, with all its ranges and versions."""
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        mine = found.setdefault(entry["package"], {**entry, "ranges": [], "versions": []})
        for key in ("ranges", "versions"):
            mine[key] += [one for one in entry[key] if one not in mine[key]]
    return list(found.values())


# --- How bad -------------------------------------------------------------------------------------


def _severity(head: Mapping[str, Any], vulnerabilities: Sequence[Any]) -> tuple[str, Decimal | None]:
    """The highest CVSS base score, else the aggregate severity's word; who says nothing is taken for bad."""
    scores = [
        Decimal(str(cvss["baseScore"]))
        for one in vulnerabilities
        for part in [
            *(listed(one, "scores")),
            *(m.get("content") for m in listed(one, "metrics") if isinstance(m, dict)),
        ]
        if isinstance(part, dict)
        for key, cvss in part.items()
        if key.startswith("cvss_v") and isinstance(cvss, dict) and _is_score(cvss.get("baseScore"))
    ]
    if scores:
        score = max(scores)
        return next((severity for least, severity in SCALE if score >= least), Severity.NONE), score
    aggregate = head.get("aggregate_severity")
    word = str(aggregate.get("text", "") if isinstance(aggregate, dict) else "").lower()
    word = {"moderate": "medium", "important": "high"}.get(word, word)
    return (word if word in Severity.values else Severity.HIGH), None


def _is_score(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found <= 10
