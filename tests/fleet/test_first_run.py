"""What the first run lays out beside the fleet: real, once, and never again over what people did."""

from base64 import b64encode
from datetime import UTC, datetime

import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from apps.access.models import User
from apps.access.services import seed_roles, system_actor
from apps.alerts.models import EscalationPolicy, OnCallSchedule, RecoveryPolicy, Runbook
from apps.alerts.rotations import on_call
from apps.core import first_run
from apps.core.context import acting
from apps.core.models import Event
from apps.fleet.bootstrap import _lay_out_examples, _make_fleet, _make_people
from apps.fleet.models import Instance
from apps.releases.choices import Life, PolicyScope
from apps.releases.models import BlastPolicy, Release

pytestmark = pytest.mark.django_db


@pytest.fixture
def laid_out() -> User:
    actor = system_actor("command")
    with acting(actor, reason="first run", via="command"):
        seed_roles()
        _make_fleet()
        _make_people(actor)
    _lay_out_examples()
    return User.objects.get(username="admin")


def test_what_the_fleet_runs_is_the_preferred_release_with_its_sbom(laid_out: User) -> None:
    preferred = Release.objects.get(life=Life.PREFERRED)
    assert set(Instance.objects.values_list("wanted_version", flat=True)) == {preferred.version}
    assert preferred.sbom_sha256
    assert preferred.artifacts.get().name == "app.py"


def test_somebody_is_on_call_and_is_told(laid_out: User) -> None:
    schedule = OnCallSchedule.objects.get()
    assert [m.user.username for m in schedule.members.all()] == ["olga", "admin", "axel"]
    assert EscalationPolicy.objects.get().steps.get().schedule == schedule


@pytest.mark.parametrize("hour", [0, 3, 9, 23])
@pytest.mark.parametrize("day", [23, 24])  # a Monday, a Tuesday
def test_somebody_is_on_call_at_once_whenever_it_is(day: int, hour: int) -> None:
    now = datetime(2026, 11, day, hour, tzinfo=UTC)
    with time_machine.travel(now, tick=False):
        actor = system_actor("command")
        with acting(actor, reason="first run", via="command"):
            seed_roles()
            _make_people(actor)
        _lay_out_examples()
        assert on_call(OnCallSchedule.objects.get(), now) is not None


def test_recovery_only_shows_what_it_would_do(laid_out: User) -> None:
    policy = RecoveryPolicy.objects.get()
    assert policy.is_dry_run
    assert policy.rank > RecoveryPolicy._meta.get_field("rank").default


def test_the_runbooks_of_the_repository_are_there(laid_out: User) -> None:
    assert Runbook.objects.filter(name="restart-and-see").exists()


def test_what_people_removed_does_not_come_back(laid_out: User) -> None:
    with acting(laid_out, reason="tidies up"):
        RecoveryPolicy.objects.get().delete()
        OnCallSchedule.objects.get().members.all().delete()
    _lay_out_examples()
    assert not RecoveryPolicy.objects.exists()
    assert not OnCallSchedule.objects.get().members.exists()


def test_what_people_made_before_is_left(laid_out: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.fleet.bootstrap.LAID_OUT", "portal.forgotten.")
    _lay_out_examples()
    assert Release.objects.count() == 2
    assert RecoveryPolicy.objects.count() == OnCallSchedule.objects.count() == 1


def test_no_mistake_reaches_the_whole_fleet(laid_out: User) -> None:
    limit = BlastPolicy.objects.get()
    assert (limit.scope, limit.max_percent, limit.max_count) == (PolicyScope.FLEET, 50, None)


def test_the_runbooks_are_told_in_one_line(laid_out: User) -> None:
    told = Event.objects.get(kind="runbook.kept")
    assert told.title == f"{Runbook.objects.count()} runbooks were taken over from the repository"


def test_who_signs_releases_finds_drafts(settings, db: None) -> None:  # type: ignore[no-untyped-def]
    key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    settings.RELEASE_SIGNING_KEYS = [b64encode(key).decode()]
    actor = system_actor("command")
    with acting(actor, reason="first run", via="command"):
        seed_roles()
        _make_people(actor)
    _lay_out_examples()
    assert set(Release.objects.values_list("life", flat=True)) == {Life.DRAFT}


def test_each_app_registers_once() -> None:
    assert list(first_run.steps()) == ["releases", "alerts"]
