"""A sign-in link signs in once, by a button; looking at it uses nothing up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from sesame.utils import get_parameters

from apps.access.models import User
from tests import factories

pytestmark = pytest.mark.django_db
URL = "/access/signin/"


@pytest.fixture
def ada() -> User:
    user = factories.make_user("ada")
    factories.grant(user, "viewer")
    return user


@pytest.fixture
def link(ada: User, settings: Any) -> dict[str, str]:
    settings.SIGNIN_LINKS = True
    return dict(get_parameters(ada))


def is_in(client: Client) -> bool:
    return client.get("/").status_code == 200


def test_its_address() -> None:
    assert reverse("access:signin_link") == URL


def test_looking_uses_nothing_up(link: dict[str, str]) -> None:
    preview = Client()
    for look in (preview.head, preview.get, preview.get):
        answer = look(URL, link)
        assert answer.status_code == 200
        assert "no-store" in answer.headers["Cache-Control"]
        assert not is_in(preview)
    client = Client()
    assert client.post(URL, link).url == "/"
    assert is_in(client)


def test_it_works_once(link: dict[str, str]) -> None:
    assert Client().post(URL, link).url == "/"
    late = Client()
    assert late.post(URL, link).url == "/accounts/login/"
    assert late.get(URL, link).url == "/accounts/login/"
    assert not is_in(late)


def test_it_does_not_last(link: dict[str, str]) -> None:
    with time_machine.travel(timezone.now() + timedelta(minutes=11)):
        assert Client().post(URL, link).url == "/accounts/login/"


def test_not_without_the_pages_own_token_of_the_form(link: dict[str, str]) -> None:
    """Else another's page could sign somebody in as whom it likes."""
    assert Client(enforce_csrf_checks=True).post(URL, link).status_code == 403


def test_a_session_made_before_is_not_gone_on_with(link: dict[str, str]) -> None:
    client = Client()
    client.get("/accounts/login/")
    session = client.session
    session["planted"] = "x"
    session.save()
    before = session.session_key
    client.cookies["sessionid"] = before
    client.post(URL, link)
    assert client.session.session_key != before


@pytest.mark.parametrize("token", ["", "x", "x" * 10_000])
def test_nonsense_is_no_link(link: dict[str, str], token: str) -> None:
    for send in (Client().get, Client().post):
        assert send(URL, {"sesame": token}).url == "/accounts/login/"


def test_a_link_with_a_nul_is_refused_in_words(link: dict[str, str]) -> None:
    assert Client().get(URL, {"sesame": "\x00"}).url == "/accounts/login/"
    refused = Client().post(URL, {"sesame": "\x00"})
    assert (refused.status_code, b"NUL" in refused.content) == (400, True)


def test_who_has_left_does_not_come_in(link: dict[str, str], ada: User) -> None:
    with factories.as_system():
        User.objects.filter(pk=ada.pk).update(is_active=False)
    assert Client().post(URL, link).url == "/accounts/login/"


def test_switched_off_there_is_none(link: dict[str, str], settings: Any) -> None:
    settings.SIGNIN_LINKS = False
    assert Client().post(URL, link).status_code == 404
