"""Reading an SBOM: CycloneDX JSON by its own library, SPDX 2 JSON by its packages' purls."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from packageurl import PackageURL

from apps.core import strict_json

from .choices import SbomFormat

MAX_COMPONENTS = 50_000
#: The longest package and version that are kept.
LONGEST_PACKAGE, LONGEST_VERSION = 400, 120


class BadDocument(ValueError):
    """A document that cannot be used, and why; nothing of it was kept."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What an SBOM says: (package, version) of each component that has a purl, and how many had none."""

    format: str
    sha256: str
    components: tuple[tuple[str, str], ...]
    without_purl: int


def read_json(raw: bytes) -> dict[str, Any]:
    """A JSON object; BadDocument for anything else."""
    try:
        document = strict_json.loads(raw)
    except ValueError as error:
        raise BadDocument(f"This cannot be read as JSON: {str(error)[:120]}.") from error
    if not isinstance(document, dict):
        raise BadDocument("A JSON object was expected, and something else came.")
    return document


def listed(holder: Mapping[str, Any], key: str) -> list[Any]:
    """The list under a key, empty where there is none; BadDocument for anything else."""
    found = holder.get(key)
    if found is not None and not isinstance(found, list):
        raise BadDocument(f"“{key}” must be a list.")
    return found or []


def read_sbom(raw: bytes) -> Contents:
    """The components of a CycloneDX or SPDX document.

    Raises BadDocument for anything else, and for one in which no component has a purl: nothing could be matched with it.
    """
    document = read_json(raw)
    if document.get("bomFormat") == "CycloneDX":
        kind, purls = SbomFormat.CYCLONEDX, _cyclonedx(document)
    elif str(document.get("spdxVersion", "")).startswith("SPDX-2"):
        kind, purls = SbomFormat.SPDX, _spdx(document)
    else:
        raise BadDocument("This is neither CycloneDX JSON (bomFormat) nor SPDX 2 JSON (spdxVersion).")
    found: dict[tuple[str, str], None] = {}
    without = 0
    for purl in purls:
        key = package_and_version(purl) if purl is not None else None
        if key is None:
            without += 1
        else:
            found[key] = None
    if not found:
        raise BadDocument("No component of it has a package URL with a version, so nothing could be matched.")
    if len(found) > MAX_COMPONENTS:
        raise BadDocument(f"It has {len(found):,} components; {MAX_COMPONENTS:,} are the most.")
    return Contents(kind, hashlib.sha256(raw).hexdigest(), tuple(found), without)


def package_of(purl: PackageURL) -> str:
    """A purl without version, qualifiers and subpath: what advisories and components have in common."""
    return str(PackageURL(purl.type, purl.namespace, purl.name))


def package_and_version(purl: PackageURL) -> tuple[str, str] | None:
    """The key of a component; None without a version, or where one is too long to be true."""
    package, version = package_of(purl), purl.version or ""
    is_usable = version and len(version) <= LONGEST_VERSION and len(package) <= LONGEST_PACKAGE
    return (package, version) if is_usable else None


def _cyclonedx(document: dict[str, Any]) -> Iterator[PackageURL | None]:
    # Late: it takes a third of a second to load, and only uploads need it.
    from cyclonedx.model.bom import Bom

    try:
        # Only the components are asked for: what else a document holds may be newer than the library.
        bom: Any = Bom.from_json(  # type: ignore[attr-defined]
            {key: document[key] for key in ("bomFormat", "specVersion", "components") if key in document}
        )
    except Exception as error:
        raise BadDocument(f"It is no CycloneDX document that can be read: {str(error)[:160]}") from error
    yield from _flattened(bom.components)


def _flattened(components: Iterable[Any]) -> Iterator[PackageURL | None]:
    """Components and those inside of them."""
    waiting = list(components)
    while waiting:
        component = waiting.pop()
        yield component.purl
        waiting.extend(component.components)


def _spdx(document: dict[str, Any]) -> Iterator[PackageURL | None]:
    packages = document.get("packages")
    if not isinstance(packages, list):
        raise BadDocument("An SPDX document needs a list “packages”.")
    for package in packages:
        if not isinstance(package, dict):
            raise BadDocument("Each of “packages” must be an object.")
        yield _spdx_purl(package)


def _spdx_purl(package: dict[str, Any]) -> PackageURL | None:
    for reference in listed(package, "externalRefs"):
        if isinstance(reference, dict) and reference.get("referenceType") == "purl":
            try:
                return PackageURL.from_string(str(reference.get("referenceLocator", "")))
            except ValueError:
                return None
    return None
