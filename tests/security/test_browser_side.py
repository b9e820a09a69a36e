"""What the browser is told so that a mistake of ours is no hole: policy, cookies, frames, redirects, limits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.urls import reverse

from tests import factories

pytestmark = pytest.mark.django_db

BACKEND = "django.contrib.auth.backends.ModelBackend"
PASSWORD = "a-long-password-of-the-test-1"
PAGES = (
    "/",
    "/audit/",
    "/audit/seals/",
    "/audit/streams/",
    "/tenants/",
    "/operations/",
    "/access/",
    "/accounts/login/",
    "/nowhere/",
)
EVIL = (
    "https://evil.example/",
    "//evil.example/",
    "/\\evil.example",
    "javascript:alert(1)",
    "https:evil.example",
    "\t//evil.example",
)


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(factories.make_user("root", superuser=True), backend=BACKEND)
    return client


@pytest.fixture
def production() -> dict[str, Any]:
    """The settings as production has them, read in a process of their own."""
    import json
    import os
    import subprocess
    import sys

    from portal.stack.lint import PRODUCTION

    names = (
        "SECURE_HSTS_SECONDS SECURE_HSTS_INCLUDE_SUBDOMAINS SESSION_COOKIE_SECURE CSRF_COOKIE_SECURE SECURE_SSL_REDIRECT "
        "SESSION_COOKIE_SAMESITE CSRF_COOKIE_SAMESITE SESSION_COOKIE_HTTPONLY DEBUG SIGNIN_LINKS"
    ).split()
    code = f"import json; from portal import settings as s; print(json.dumps({{n: getattr(s, n) for n in {names!r}}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **PRODUCTION}, cwd=django_settings.BASE_DIR,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class TestPolicy:
    @pytest.mark.parametrize("page", PAGES)
    def test_no_inline_script_or_style_may_run_and_nobody_frames_us(self, client: Client, page: str) -> None:
        answer = client.get(page)
        policy = answer["Content-Security-Policy"]
        assert "unsafe" not in policy
        for part in (
            "default-src 'self'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ):
            assert part in policy, part
        assert answer["X-Frame-Options"] == "DENY"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["Referrer-Policy"] == "same-origin"

    @pytest.mark.parametrize("page", PAGES)
    def test_no_page_of_ours_would_need_it(self, client: Client, page: str) -> None:
        text = client.get(page).content.decode()
        assert not re.search(r"\sstyle=|\son[a-z]+=\"|<style|javascript:", text)
        for script in re.findall(r"<script([^>]*)>", text):
            assert "src=" in script or "application/json" in script, script

    def test_no_template_of_ours_would_need_it(self) -> None:
        """The admin's own pages come from Django and are its own business."""
        bad = re.compile(r"<[a-z][^>]*\s(style|onclick|onchange|onsubmit|hx-on[a-z:-]*)=")
        root = Path(django_settings.BASE_DIR) / "templates"
        assert [str(path) for path in root.rglob("*.html") if bad.search(path.read_text())] == []


class TestProduction:
    def test_cookies_and_transport(self, production: dict[str, Any]) -> None:
        assert production["SECURE_HSTS_SECONDS"] >= 31_536_000
        assert production["SESSION_COOKIE_SAMESITE"] == production["CSRF_COOKIE_SAMESITE"] == "Lax"
        for name in (
            "SECURE_HSTS_INCLUDE_SUBDOMAINS", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT",
            "SESSION_COOKIE_HTTPONLY",
        ):  # fmt: skip
            assert production[name] is True, name
        assert (production["DEBUG"], production["SIGNIN_LINKS"]) == (False, False)

    def test_hsts_is_sent(self, settings: Any) -> None:
        settings.SECURE_HSTS_SECONDS = 31_536_000
        assert (
            "max-age=31536000" in Client().get("/accounts/login/", secure=True)["Strict-Transport-Security"]
        )


class TestSessions:
    def test_signing_in_changes_the_session(self) -> None:
        """Who planted a session id before the sign-in does not hold it after."""
        factories.make_user("ada", password=PASSWORD)
        client = Client()
        session = client.session
        session["planted"] = "1"
        session.save()
        before = session.session_key
        client.post("/accounts/login/", {"login": "ada", "password": PASSWORD})
        after = client.cookies["sessionid"]
        assert after.value != before
        assert (after["httponly"], after["samesite"]) == (True, "Lax")

    def test_signing_out_ends_it(self) -> None:
        ada = factories.make_user("ada")
        factories.grant(ada, "viewer")
        client = Client()
        client.force_login(ada, backend=BACKEND)
        cookie = client.cookies["sessionid"].value
        client.post("/accounts/logout/")
        client.cookies["sessionid"] = cookie
        assert client.get("/tenants/").status_code == 302

    def test_a_form_from_elsewhere_is_refused(self) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(factories.make_user(superuser=True), backend=BACKEND)
        assert client.post(reverse("core:save_view"), {"page": "audit:list", "name": "x"}).status_code == 403


class TestRedirects:
    @pytest.mark.parametrize("target", EVIL)
    def test_the_sign_in_leads_nowhere_else(self, target: str) -> None:
        factories.make_user("ada", password=PASSWORD)
        form = {"login": "ada", "password": PASSWORD, "next": target}
        answer = Client().post("/accounts/login/", form)
        assert "evil" not in answer.headers.get("Location", "")
        assert "javascript" not in answer.headers.get("Location", "")

    @pytest.mark.parametrize("target", EVIL)
    def test_nor_does_deleting_a_view_or_the_admins_door(self, client: Client, target: str) -> None:
        client.post(reverse("core:save_view"), {"page": "audit:list", "name": "x"})
        from apps.core.models import SavedView

        url = reverse("core:delete_view", args=[SavedView.objects.get().pk])
        for answer in (client.post(url, {"next": target}), client.get("/admin/login/", {"next": target})):
            assert "evil" not in answer.headers.get("Location", "")
            assert "javascript" not in answer.headers.get("Location", "")


class TestLimits:
    def test_a_body_that_is_too_large_is_refused(self, client: Client) -> None:
        answer = client.post(reverse("core:save_view"), {"page": "audit:list", "name": "x" * 6_000_000})
        assert answer.status_code in (400, 413)

    def test_too_many_fields_are_refused(self, client: Client) -> None:
        answer = client.post(reverse("core:save_view"), {f"f{n}": "1" for n in range(6_000)})
        assert answer.status_code in (400, 413)

    @pytest.mark.parametrize("text", ["(a+)+$" * 20, "%" * 400, "_" * 400, "\\" * 200, "a" * 5_000])
    def test_a_search_is_text_and_no_pattern(self, client: Client, text: str) -> None:
        for page in ("/audit/", "/tenants/", "/instances/", reverse("core:palette")):
            assert client.get(page, {"q": text}).status_code in (200, 404), page
