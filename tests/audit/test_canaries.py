"""No secret in an audit entry, an event, a page of the trail or a log line: planted ones are looked for everywhere."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.urls import reverse
from sesame.utils import get_query_string

from apps.access.models import User
from apps.core.models import Event
from tests import factories

pytestmark = pytest.mark.django_db

PASSWORD = "Canary-Password-4711-xyz"
NEW_PASSWORD = "Canary-New-Password-4712-xyz"


def everything_written() -> str:
    """Each audit entry and event, every column, as text."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(e::text, E'\\n') FROM audit_auditentry e")
        trail = cursor.fetchone()[0] or ""
    return trail + "\n".join(f"{e.title} {e.why}" for e in Event.objects.all())


@pytest.fixture
def person() -> User:
    return factories.make_user("canary", password=PASSWORD, superuser=True)


def assert_silent(secrets: dict[str, str], caplog: Any) -> None:
    written, logged = everything_written(), caplog.text
    for what, secret in secrets.items():
        assert len(secret) >= 8, f"{what} is no canary"
        assert secret not in written, f"{what} is in the trail"
        assert secret not in logged, f"{what} is in the log"


@pytest.fixture(autouse=True)
def _all_levels(caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)


def test_signing_in_by_password(person: User, caplog: Any) -> None:
    client = Client()
    client.post(reverse("account_login"), {"login": "canary", "password": "wrong-" + PASSWORD})
    response = client.post(reverse("account_login"), {"login": "canary", "password": PASSWORD})
    assert response.status_code == 302
    session = Session.objects.latest("expire_date")
    person.refresh_from_db()
    assert person.last_login
    secrets = {"the password": PASSWORD, "its hash": person.password, "the session key": session.session_key}
    assert_silent(secrets, caplog)
    assert "last_login" not in everything_written()


def test_changing_the_password(person: User, caplog: Any) -> None:
    client = Client()
    client.post(reverse("account_login"), {"login": "canary", "password": PASSWORD})
    data = {"oldpassword": PASSWORD, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    assert client.post(reverse("account_change_password"), data).status_code == 302
    person.refresh_from_db()
    assert person.check_password(NEW_PASSWORD)
    assert_silent({"the old": PASSWORD, "the new": NEW_PASSWORD, "its hash": person.password}, caplog)


def test_a_password_is_not_recorded_by_whatever_write(person: User, caplog: Any) -> None:
    with factories.as_system():
        person.set_password(NEW_PASSWORD)
        person.save()
        User.objects.filter(pk=person.pk).update(password=person.password)
        User.objects.bulk_create([User(username="other", password="canary-hash-of-other")])
    assert_silent({"its hash": person.password, "another's": "canary-hash-of-other"}, caplog)


def test_second_factors(person: User, caplog: Any) -> None:
    seed = totp.generate_totp_secret()
    with factories.as_system():
        totp.TOTP.activate(person, seed)
    factor = Authenticator.objects.get(user=person)
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    for url in (
        "/audit/",
        "/audit/?model=mfa.authenticator",
        f"/admin/mfa/authenticator/{factor.pk}/history/",
    ):
        text = client.get(url).content.decode()
        assert seed not in text
        assert factor.data["secret"] not in text
    assert "authenticator" in client.get("/audit/?model=mfa.authenticator").content.decode()
    assert_silent({"the seed": seed, "as stored": factor.data["secret"]}, caplog)


def test_a_sign_in_link(person: User, caplog: Any, settings: Any) -> None:
    settings.SIGNIN_LINKS = True
    query = get_query_string(person)
    client, url = Client(), reverse("access:signin_link")
    assert client.get(url + query).status_code == 200
    for _ in range(2):  # the second: used before, told so, and not let in
        assert client.post(url, {"sesame": query.split("=")[1]}).status_code == 302
    session = Session.objects.latest("expire_date")
    assert_silent({"the token": query.split("=")[1], "the session key": session.session_key}, caplog)


def test_forms_that_fail_tell_no_secret(person: User, caplog: Any) -> None:
    client = Client(raise_request_exception=False)
    text = client.post(reverse("account_login"), {"login": PASSWORD, "password": "x"}).content.decode()
    assert client.get("/no/such/page/").status_code == 404
    assert f'value="{PASSWORD}"' in text or PASSWORD not in text
    assert_silent({"the password typed as a name": PASSWORD}, caplog)
