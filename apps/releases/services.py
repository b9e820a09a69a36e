"""What changes releases: making them, moving them through their life, artifacts, SBOMs."""

from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.access.choices import Permission
from apps.access.scoping import require, scopes_of
from apps.core.choices import Tone
from apps.core.context import acting
from apps.core.events import event, record
from apps.operations.services import MIN_REASON, Refused

from .choices import LIFE_TRANSITIONS, Life
from .guarding import why_not_deployable
from .matching import lock_matches, match_components
from .models import Artifact, Component, Release, ReleaseComponent
from .sbom import Contents, read_sbom
from .signing import check_signature

TONES = {
    Life.RELEASED: Tone.OK,
    Life.PREFERRED: Tone.OK,
    Life.DEPRECATED: Tone.WARN,
    Life.WITHDRAWN: Tone.BAD,
}


def given_reason(reason: str) -> str:
    """The reason as it is recorded; Refused where it says nothing."""
    reason = " ".join(reason.split())[:500]
    if len(reason) < MIN_REASON:
        raise Refused("Say why, in a few words: the reason stands in the audit trail.")
    return reason


def require_everywhere(actor: Any, permission: str) -> None:
    """Pass where `actor` holds the permission on everything: releases and rules belong to no account."""
    if not scopes_of(actor, permission).everything:
        raise Refused(
            f"This needs “{Permission(permission).label}” on everything; ask whoever manages access."
        )


def save_release(release: Release, *, actor: Any, reason: str = "") -> Release:
    """Write a new or changed release. Raises ValidationError or Refused; then nothing was changed."""
    require_everywhere(actor, Permission.MANAGE_RELEASES)
    release.full_clean()
    is_new = release.pk is None
    with transaction.atomic(durable=True), acting(actor, reason=reason or f"describes release {release}"):
        release.save()
        if is_new:
            record([event("release.drafted", f"Release {release} was drafted")])
    return release


def move_release(release: Release, *, to: str, actor: Any, reason: str) -> Release:
    """Move a release to another state of its life: one conditional UPDATE, its event, its audit entry.

    A release becomes preferred in place of the one that was. Raises Refused for a way that is not in the table, or
    for a release that would not be deployable then (signatures).
    """
    require(actor, Permission.MANAGE_RELEASES, release)
    reason = given_reason(reason)
    if to not in Life.values:
        raise Refused(f"There is no state “{to}”; there are {', '.join(Life.values)}.")
    before = [life for life, after in LIFE_TRANSITIONS.items() if to in after]
    now = timezone.now()
    with transaction.atomic(durable=True), acting(actor, reason=reason):
        locked = Release.objects.select_for_update().get(pk=release.pk)
        if locked.life not in before:
            raise Refused(
                f"A release that is {locked.get_life_display().lower()} cannot become {Life(to).label.lower()}."
            )
        _require_deployable(locked, to)
        if to == Life.PREFERRED:
            Release.objects.filter(life=Life.PREFERRED).update(life=Life.RELEASED, life_since=now)
        stamp = {"released_at": now} if to == Life.RELEASED and locked.released_at is None else {}
        Release.objects.filter(pk=locked.pk, life__in=before).update(life=to, life_since=now, **stamp)
        title = f"Release {locked} is {Life(to).label.lower()}"
        record([event(f"release.{to}", title, tone=TONES.get(Life(to), Tone.PLAIN))])
    release.refresh_from_db()
    return release


def _require_deployable(release: Release, to: str) -> None:
    if to in (Life.CANDIDATE, Life.RELEASED, Life.PREFERRED):
        release.life = Life(to)
        if why := why_not_deployable(release):
            raise Refused(why)


def add_artifact(
    release: Release, *, name: str, sha256: str, actor: Any, uri: str = "", signature: str = ""
) -> Artifact:
    """Add an artifact to a draft. Raises Refused where the release is past that, ValidationError for a bad digest."""
    require(actor, Permission.MANAGE_RELEASES, release)
    if release.life != Life.DRAFT:
        raise Refused("Only a draft takes artifacts: what was announced stays what it is.")
    artifact = Artifact(release=release, name=name, uri=uri, sha256=sha256.lower(), signature=signature)
    artifact.full_clean()
    check_signature(signature)
    with transaction.atomic(durable=True), acting(actor, reason=f"adds an artifact to {release}"):
        artifact.save()
    return artifact


def upload_sbom(release: Release, raw: bytes, *, actor: Any) -> Contents:
    """Replace what a release is made of by an SBOM's contents, and match them with every advisory.

    Raises BadDocument for one that cannot be read; then nothing was changed.
    """
    require(actor, Permission.MANAGE_RELEASES, release)
    contents = read_sbom(raw)
    with transaction.atomic(durable=True), acting(actor, reason=f"uploads the SBOM of {release}"):
        lock_matches()
        ids = components_of(contents)
        ReleaseComponent.objects.filter(release=release).delete()
        ReleaseComponent.objects.bulk_create(
            [ReleaseComponent(release=release, component_id=pk) for pk in ids], batch_size=5_000
        )
        Release.objects.filter(pk=release.pk).update(
            sbom_format=contents.format, sbom_sha256=contents.sha256, sbom_at=timezone.now()
        )
        match_components(ids)
        record([event("release.sbom", f"SBOM of {release}: {len(ids):,} components")])
    release.refresh_from_db()
    return contents


def components_of(contents: Contents) -> list[int]:
    """The ids of an SBOM's components, made where they lack; two statements."""
    rows = [Component(package=package, version=version) for package, version in contents.components]
    Component.objects.bulk_create(rows, ignore_conflicts=True, batch_size=5_000)
    packages = {package for package, _ in contents.components}
    wanted = set(contents.components)
    known = Component.objects.filter(package__in=packages).values_list("pk", "package", "version")
    return [pk for pk, package, version in known if (package, version) in wanted]
