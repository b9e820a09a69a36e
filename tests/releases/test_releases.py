"""A release's life, its artifacts and their signatures."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.exceptions import PermissionDenied, ValidationError
from django.test import Client
from django.urls import reverse

from apps.access.models import User
from apps.audit.models import AuditEntry
from apps.core.models import Event
from apps.fleet.models import Cell
from apps.operations.services import Refused, submit
from apps.releases.choices import LIFE_TRANSITIONS, Life
from apps.releases.models import Artifact, Release
from apps.releases.rollouts import steer
from apps.releases.services import add_artifact, move_release, save_release
from apps.releases.signing import is_signed
from tests.factories import as_system, grant, make_cell, make_instance, make_user
from tests.releases.conftest import make_release, run, start

DIGEST = hashlib.sha256(b"the artifact").hexdigest()


@pytest.mark.parametrize("to", Life.values)
@pytest.mark.parametrize("since", Life.values)
def test_it_moves_only_as_the_table_says(boss: User, since: str, to: str) -> None:
    release = make_release(life=since)
    if to in LIFE_TRANSITIONS[since]:
        assert move_release(release, to=to, actor=boss, reason="as decided").life == to
        assert Event.objects.filter(kind=f"release.{to}").count() == 1
        assert AuditEntry.objects.filter(reason="as decided").exists()
    else:
        with pytest.raises(Refused):
            move_release(release, to=to, actor=boss, reason="as decided")


def test_there_is_one_preferred_release(boss: User) -> None:
    first, second = make_release("1.1.0", life=Life.PREFERRED), make_release("1.2.0")
    move_release(second, to=Life.PREFERRED, actor=boss, reason="it is better")
    first.refresh_from_db()
    assert first.life == Life.RELEASED


def test_a_move_needs_a_reason_and_the_permission_everywhere(boss: User) -> None:
    release, cell = make_release(), make_cell()
    with pytest.raises(Refused, match="why"):
        move_release(release, to=Life.WITHDRAWN, actor=boss, reason="  ")
    olga = make_user("olga")
    grant(olga, "operator", "cell", cell)
    with pytest.raises(PermissionDenied):
        move_release(release, to=Life.WITHDRAWN, actor=olga, reason="I say so")


def test_with_a_key_only_signed_releases_come_out(boss: User, settings: Any) -> None:
    key = Ed25519PrivateKey.generate()
    settings.RELEASE_SIGNING_KEYS = [base64.b64encode(key.public_key().public_bytes_raw()).decode()]
    release = make_release(life=Life.DRAFT)
    with pytest.raises(Refused, match="no signed artifact"):
        move_release(release, to=Life.CANDIDATE, actor=boss, reason="it is ready")
    artifact = add_artifact(release, name="app.tar.gz", sha256=DIGEST, actor=boss, signature="bm9uc2Vuc2U=")
    with pytest.raises(Refused, match="without a good signature"):
        move_release(release, to=Life.CANDIDATE, actor=boss, reason="it is ready")
    with as_system():
        artifact.delete()
    good = base64.b64encode(key.sign(DIGEST.encode())).decode()
    add_artifact(release, name="app.tar.gz", sha256=DIGEST, actor=boss, signature=good)
    assert move_release(release, to=Life.CANDIDATE, actor=boss, reason="it is ready").life == Life.CANDIDATE
    with pytest.raises(Refused, match="draft"):
        add_artifact(release, name="late.tar.gz", sha256=DIGEST, actor=boss)


def test_bad_input_is_named(boss: User) -> None:
    with pytest.raises(ValidationError, match="at most 40"):
        save_release(Release(version="1 2"), actor=boss)
    with pytest.raises(ValidationError, match="CVE-2026"):
        save_release(Release(version="1.2", cves=["heartbleed"]), actor=boss)
    with pytest.raises(ValidationError, match="64 hexadecimal"):
        add_artifact(make_release(life=Life.DRAFT), name="x", sha256="abc", actor=boss)


@pytest.mark.parametrize(
    "signature", ["ünsigniert", "short", base64.b64encode(b"x" * 64).decode(), "=", "\x00"]
)
def test_an_odd_signature_is_none_and_breaks_no_page(
    boss: User, settings: Any, client: Client, signature: str
) -> None:
    key = Ed25519PrivateKey.generate()
    settings.RELEASE_SIGNING_KEYS = [base64.b64encode(key.public_key().public_bytes_raw()).decode()]
    release = make_release(life=Life.DRAFT)
    assert not is_signed(Artifact(release=release, name="app", sha256=DIGEST, signature=signature))
    with pytest.raises(ValidationError, match="base64"):
        add_artifact(release, name="app", sha256=DIGEST, signature=signature + "ü", actor=boss)
    with as_system():
        Artifact.objects.create(
            release=release, name="app", sha256=DIGEST, signature=signature.replace("\x00", "ü")
        )
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(reverse("releases:release", args=[release.pk])).status_code == 200


def test_where_signatures_are_asked_for_no_unknown_version_is_deployed(
    boss: User, settings: Any, cell: Cell
) -> None:
    instance = make_instance("one", cell=cell)
    ask = {"kind": "deploy", "target_id": instance.pk, "actor": boss, "reason": "by hand"}
    submit(params={"version": "7.0.0"}, idempotency_key="without", **ask)
    key = Ed25519PrivateKey.generate()
    settings.RELEASE_SIGNING_KEYS = [base64.b64encode(key.public_key().public_bytes_raw()).decode()]
    with pytest.raises(Refused, match=r"8\.0\.0 is no known release"):
        submit(params={"version": "8.0.0"}, idempotency_key="with", **ask)


def test_what_goes_back_to_what_ran_before_it_is_let_through(boss: User, settings: Any, cell: Cell) -> None:
    instance = make_instance("one", cell=cell)
    key = Ed25519PrivateKey.generate()
    settings.RELEASE_SIGNING_KEYS = [base64.b64encode(key.public_key().public_bytes_raw()).decode()]
    release = make_release(life=Life.DRAFT)
    signature = base64.b64encode(key.sign(DIGEST.encode())).decode()
    add_artifact(release, name="app", sha256=DIGEST, signature=signature, actor=boss)
    with as_system():
        Release.objects.update(life=Life.RELEASED)
    release.refresh_from_db()
    rollout = run(start(release, boss))
    steer(rollout, "roll_back", actor=boss, reason="as the test wants it")
    assert run(rollout).state == "rolled_back"
    instance.refresh_from_db()
    assert instance.version == "1.0.0"
