"""⌘K over releases, advisories and rollouts."""

import re
from typing import Any

from django.db.models import Q
from django.urls import reverse

from apps.access.scoping import visible
from apps.core.palette import Hit

from .choices import UNDEPLOYABLE, RolloutState
from .models import Advisory, Release, RolloutTarget


def known_versions() -> list[str]:
    """The versions of releases that may be deployed, and those that a rollout goes back to."""
    back = RolloutTarget.objects.filter(rollout__state=RolloutState.ROLLING_BACK).order_by()
    released = Release.objects.exclude(life__in=UNDEPLOYABLE).order_by()
    return [version for (version,) in released.values_list("version").union(back.values_list("from_version"))]


def find_releases(user: Any, text: str, limit: int) -> list[Hit]:
    """Releases by version or CVE, advisories by id or alias; two statements, none for what cannot be either."""
    if not re.search(r"[\d-]", text):
        return []
    cve = text.strip().upper()
    releases = visible(user, Release).filter(Q(version__istartswith=text.strip()) | Q(cves__contains=[cve]))
    hits = [
        Hit(
            "Release",
            release.version,
            reverse("releases:release", args=[release.pk]),
            f"{release.get_kind_display().lower()} · {release.get_life_display().lower()}",
            1.0 if release.version == text.strip() else 0.8,
            "" if release.version.startswith(text.strip()) else cve,
        )
        for release in releases[:limit]
    ]
    known = visible(user, Advisory).filter(Q(osv_id__istartswith=text.strip()) | Q(aliases__contains=[cve]))
    hits += [
        Hit(
            "Advisory",
            advisory.osv_id,
            reverse("releases:advisory", args=[advisory.pk]),
            f"{advisory.get_severity_display().lower()} · {advisory.summary}"[:120],
            0.9 if cve in advisory.aliases or advisory.osv_id.upper() == cve else 0.75,
            cve if cve in advisory.aliases else "",
        )
        for advisory in known[:limit]
    ]
    return hits
