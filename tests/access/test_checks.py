"""What `manage.py check` says about settings with which the portal must not run."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings as real
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path

from apps.access import checks

FIT = {
    "DAYTWO_ENV": "production",
    "PRODUCTION": True,
    "SECRET_KEY": "k" * 60,
    "ALLOWED_HOSTS": ["daytwo.example.com"],
    "DEBUG": False,
    "SIGNIN_LINKS": False,
}


def found(**changed: Any) -> list[str]:
    """The ids of what the checks find with these settings."""
    asked = (
        checks.check_environment,
        checks.check_database,
        checks.check_numbers,
        checks.check_production,
        checks.check_laptop,
        checks.check_routes,
    )
    with override_settings(**changed):
        messages = [message for check in asked for message in check()]
    for message in messages:
        assert message.hint, f"{message.id} does not say what to do"
    return [str(message.id) for message in messages]


def test_a_fit_production_passes() -> None:
    assert found(**FIT) == []


def test_a_laptop_passes_and_is_called_one() -> None:
    assert found(DAYTWO_ENV="development", PRODUCTION=False) == ["daytwo.W002"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"SECRET_KEY": real.INSECURE_KEY}, "daytwo.E010"),
        ({"ALLOWED_HOSTS": []}, "daytwo.E011"),
        ({"ALLOWED_HOSTS": ["*"]}, "daytwo.E011"),
        ({"DEBUG": True}, "daytwo.E012"),
        ({"SIGNIN_LINKS": True}, "daytwo.E013"),
        ({"DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3"}}}, "daytwo.E002"),
        ({"DATABASES": {"default": {}}}, "daytwo.E002"),
        ({"OPERATIONS_LEASE_SECONDS": 0.0}, "daytwo.E003"),
        ({"OPERATIONS_LEASE_SECONDS": -5.0}, "daytwo.E003"),
        ({"OPERATIONS_LEASE_SECONDS": 0.5}, "daytwo.W001"),
        ({"OPERATIONS_BATCH": 0}, "daytwo.E003"),
        ({"OPERATIONS_PROBE_SECONDS": 0.0}, "daytwo.E003"),
        ({"SESSION_COOKIE_AGE": 0}, "daytwo.E003"),
        ({"EVENTS_DAYS": 0}, "daytwo.E003"),
        ({"EVENTS_DAYS": 30}, "daytwo.W005"),
        ({"HISTORY_DAYS": 0}, "daytwo.E003"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
def test_each_fault_is_found(changed: dict[str, Any], message: str) -> None:
    assert found(**{**FIT, **changed}) == [message]


@pytest.mark.parametrize("word", ["prod", "Production", "production ", "staging", ""])
def test_an_environment_nobody_knows_is_an_error(word: str) -> None:
    """A misspelt production would be a laptop that everybody can reach."""
    assert found(**{**FIT, "DAYTWO_ENV": word, "PRODUCTION": False}) == ["daytwo.E001"]


def undeclared(request: Any) -> HttpResponse:
    return HttpResponse()


undeclared.__module__ = "apps.somewhere.views"
urlpatterns = [path("open/", undeclared)]


@pytest.mark.urls(__name__)
def test_a_view_that_declares_nothing_is_found() -> None:
    (message,) = checks.check_routes()
    assert "/open/" in message.msg


def test_an_unfit_production_stops_every_command() -> None:
    with (
        override_settings(**{**FIT, "SECRET_KEY": real.INSECURE_KEY}),
        pytest.raises(CommandError, match="SECRET_KEY"),
    ):
        call_command("check")
