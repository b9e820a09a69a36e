"""Sessions: a second factor for who changes something, limits, lock-outs that lock nobody else out."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.usersessions.models import UserSession
from django.core.cache import cache
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from apps.access.addresses import client_ip
from apps.access.models import Grant, User
from apps.access.session_views import browser_of
from apps.core.models import SavedView
from tests import factories

pytestmark = pytest.mark.django_db
LOGIN = "/accounts/login/"


@pytest.fixture(autouse=True)
def no_limits_left_over() -> None:
    cache.clear()


def signed_in(user: User, *methods: str, ago: float = 0) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    session = client.session
    session["account_authentication_methods"] = [{"method": m, "at": time.time() - ago} for m in methods]
    session["account_authentication_methods_user"] = str(user.pk)
    session.save()
    return client


def device(user: User) -> User:
    with factories.as_system():
        TOTP.activate(user, generate_totp_secret())
    return user


def change(client: Client, **headers: str) -> Any:
    return client.post(reverse("core:save_view"), {"page": "fleet:instances", "name": "x"}, headers=headers)


class TestSecondFactor:
    @pytest.fixture(autouse=True)
    def required(self, settings: Any) -> None:
        settings.REQUIRE_MFA = True

    @pytest.mark.parametrize("role", ["operator", "admin", "on-call"])
    def test_who_may_change_something_sets_one_up_first(self, role: str) -> None:
        user = factories.make_user()
        factories.grant(user, role)
        client = signed_in(user, "password")
        assert client.get("/").status_code == 200
        assert change(client).url == reverse("mfa_index")
        assert change(client, **{"HX-Request": "true"}).headers["HX-Redirect"] == reverse("mfa_index")
        assert not SavedView.objects.exists()

    @pytest.mark.parametrize("role", ["viewer", "support"])
    def test_who_only_looks_need_not(self, role: str) -> None:
        user = factories.make_user()
        factories.grant(user, role)
        assert change(signed_in(user, "password")).url.startswith("/instances")

    def test_with_a_device_it_has_to_be_given_in_this_session(self) -> None:
        user = device(factories.make_user())
        factories.grant(user, "operator")
        assert change(signed_in(user, "password")).url.startswith(reverse("mfa_reauthenticate"))
        assert not SavedView.objects.exists()
        assert change(signed_in(user, "password", "mfa")).url.startswith("/instances")

    def test_a_superuser_is_no_exception(self) -> None:
        assert change(signed_in(factories.make_user(superuser=True))).url == reverse("mfa_index")

    def test_one_can_set_it_up_and_sign_out(self) -> None:
        user = factories.make_user()
        factories.grant(user, "operator")
        assert signed_in(user, "password").post("/accounts/logout/").url == "/"

    def test_off_the_first_runs_link_is_enough(self, settings: Any) -> None:
        settings.REQUIRE_MFA = False
        user = factories.make_user()
        factories.grant(user, "operator")
        assert change(signed_in(user)).url.startswith("/instances")


class TestProvedAgain:
    def give(self, client: Client, person: User) -> Any:
        data = {"role": factories.make_role("viewer").pk, "kind": "everything", "reason": "joins the team"}
        return client.post(reverse("access:give", args=[person.pk]), data)

    @pytest.mark.parametrize(
        ("has_device", "methods", "ago", "where"),
        [
            (False, ["password"], 0, "done"),
            (False, ["password"], 901, "account_reauthenticate"),
            (True, ["password"], 0, "mfa_reauthenticate"),
            (True, ["mfa"], 901, "mfa_reauthenticate"),
            (True, ["mfa"], 0, "done"),
        ],
    )
    def test_giving_access_takes_a_fresh_proof(
        self, has_device: bool, methods: list[str], ago: float, where: str
    ) -> None:
        chief = factories.make_user("chief", password=factories.PASSWORD)
        factories.grant(chief, "admin")
        if has_device:
            device(chief)
        ada = factories.make_user("ada")
        answer = self.give(signed_in(chief, *methods, ago=ago), ada)
        if where == "done":
            assert Grant.objects.filter(user=ada).exists()
        else:
            assert answer.url.startswith(reverse(where))
            assert not Grant.objects.filter(user=ada).exists()


class TestLimits:
    def client(self) -> Client:
        user = factories.make_user()
        factories.grant(user, "viewer")
        client = signed_in(user)
        assert client.get("/").status_code == 200
        return client

    def test_idle_it_ends(self, settings: Any) -> None:
        client = self.client()
        with time_machine.travel(timezone.now() + timedelta(seconds=settings.SESSION_IDLE_SECONDS + 1)):
            assert client.get("/").url.startswith(LOGIN)
        assert not UserSession.objects.exists()

    def test_used_it_goes_on_but_not_for_ever(self, settings: Any) -> None:
        client, began = self.client(), timezone.now()
        step = settings.SESSION_IDLE_SECONDS - 60
        for number in range(1, settings.SESSION_COOKIE_AGE // step + 1):
            with time_machine.travel(began + timedelta(seconds=number * step)):
                assert client.get("/").status_code == 200
        with time_machine.travel(began + timedelta(seconds=settings.SESSION_COOKIE_AGE + 1)):
            assert client.get("/").status_code == 302

    def test_a_page_left_open_does_not_keep_it_alive(self, settings: Any) -> None:
        client, began = self.client(), timezone.now()
        live = {"X-Daytwo-Live": "1", "HX-Request": "true"}
        with time_machine.travel(began + timedelta(seconds=settings.SESSION_IDLE_SECONDS - 60)):
            assert client.get("/", headers=live).status_code == 200
        with time_machine.travel(began + timedelta(seconds=settings.SESSION_IDLE_SECONDS + 60)):
            assert client.get("/", headers=live).status_code == 401


class TestSessionList:
    def test_ones_own_are_listed_and_ended(self) -> None:
        user = factories.make_user()
        factories.grant(user, "viewer")
        here, there = signed_in(user), signed_in(user)
        for client in (here, there):
            client.get("/", headers={"User-Agent": "Firefox"})
        text = here.get(reverse("access:sessions")).content.decode()
        assert text.count('title="Firefox"') == 2
        assert there.session.session_key not in text
        other = UserSession.objects.exclude(session_key=here.session.session_key).get()
        here.post(reverse("access:end_session", args=[other.pk]))
        assert there.get("/").url.startswith(LOGIN)
        assert here.get("/").status_code == 200

    def test_an_admin_ends_anothers(self) -> None:
        chief, ada = factories.make_user("chief"), factories.make_user("ada")
        factories.grant(chief, "admin")
        factories.grant(ada, "viewer")
        hers = signed_in(ada)
        hers.get("/")
        signed_in(chief).post(reverse("access:end_sessions", args=[ada.pk]))
        assert hers.get("/").url.startswith(LOGIN)


class TestLockOut:
    def sign_in(self, password: str, *, address: str = "10.0.0.1", name: str = "ada") -> Any:
        return Client(REMOTE_ADDR=address).post(LOGIN, {"login": name, "password": password})

    def test_guessing_is_stopped_from_there_and_nobody_else_is(self, settings: Any) -> None:
        factories.make_user("ada", password=factories.PASSWORD)
        factories.make_user("bob", password=factories.PASSWORD)
        for number in range(settings.AXES_FAILURE_LIMIT):
            answer = self.sign_in(f"wrong-{number}")
        assert answer.status_code == 429
        assert self.sign_in(factories.PASSWORD).status_code == 429, "the right one does not help from there"
        assert self.sign_in(factories.PASSWORD, address="10.0.0.2").status_code == 302, (
            "she is not locked out"
        )
        assert self.sign_in(factories.PASSWORD, name="bob").status_code == 302

    def test_it_ends_by_itself(self, settings: Any) -> None:
        factories.make_user("ada", password=factories.PASSWORD)
        for _ in range(settings.AXES_FAILURE_LIMIT + 1):
            self.sign_in("wrong")
        with time_machine.travel(timezone.now() + settings.AXES_COOLOFF_TIME + timedelta(seconds=1)):
            assert self.sign_in(factories.PASSWORD).status_code == 302

    def test_the_address_cannot_be_made_up(self, settings: Any) -> None:
        request = RequestFactory().get(
            "/", headers={"X-Forwarded-For": "6.6.6.6, 9.9.9.9"}, REMOTE_ADDR="10.0.0.1"
        )
        settings.TRUSTED_PROXIES = 0
        assert client_ip(request) == "10.0.0.1"
        settings.TRUSTED_PROXIES = 1
        assert client_ip(request) == "9.9.9.9"


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120 Safari/537.36", "Chrome on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/120 Safari/537.36 Edg/120", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Safari/604.1", "Safari on iOS"),
        ("a program of ours", "a program of ours"),
        ("", "unknown"),
    ],
)
def test_a_browser_is_told_in_words(user_agent: str, words: str) -> None:
    assert browser_of(user_agent) == words
