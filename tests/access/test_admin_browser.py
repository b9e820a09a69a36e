"""The admin in a browser: nothing that our content security policy stops, and its forms work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from apps.accounts.models import Account
from tests import factories

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def page(chromium_path: str, live_server: Any) -> Iterator[Any]:
    """A page signed in as a superuser; fails when the console tells of an error."""
    from playwright.sync_api import sync_playwright

    client = Client()
    client.force_login(
        factories.make_user("root", superuser=True), backend="django.contrib.auth.backends.ModelBackend"
    )
    cookie = {
        "name": settings.SESSION_COOKIE_NAME,
        "value": client.cookies[settings.SESSION_COOKIE_NAME].value,
        "url": live_server.url,
    }
    complaints: list[str] = []
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # Playwright keeps an event loop in this thread
    try:
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
            context = browser.new_context(base_url=live_server.url)
            context.add_cookies([cookie])
            opened = context.new_page()
            opened.on(
                "console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None
            )
            opened.on("pageerror", lambda error: complaints.append(str(error)))
            yield opened
            browser.close()
    finally:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
    assert complaints == []


def test_every_kind_of_page_is_quiet_under_the_policy(page: Any) -> None:
    instance = factories.make_instance()
    placement = factories.place(factories.make_tenant(), instance)
    for path in (
        "/admin/",
        "/admin/fleet/",
        "/admin/fleet/instance/",
        f"/admin/fleet/instance/{instance.pk}/change/",
        f"/admin/fleet/instance/{instance.pk}/history/",
        f"/admin/fleet/placement/{placement.pk}/delete/",
        "/admin/fleet/placement/add/",
        "/admin/access/user/add/",
        "/admin/access/grant/add/",
        "/admin/access/role/add/",
        "/admin/operations/schedule/add/",
        "/admin/audit/auditentry/",
    ):
        answer = page.goto(path)
        assert answer.status == 200, path
        page.wait_for_load_state("networkidle")


def test_a_fix_is_made_with_autocomplete_and_reason(page: Any) -> None:
    factories.make_cell("cell-one")
    page.goto("/admin/fleet/instance/add/")
    page.fill("#id_fix_reason", "made by hand, ticket 7")
    page.fill("#id_name", "by-hand")
    page.click(".field-cell .select2-selection")
    page.fill(".select2-search__field", "cell")
    page.click(".select2-results__option:has-text('cell-one')")
    page.fill("#id_wanted_version", "1.0.0")
    page.click("input[name=_save]")
    page.wait_for_url("**/admin/fleet/instance/")
    assert "by-hand" in page.content()


def test_deleting_many_asks_why(page: Any) -> None:
    factories.make_account("one")
    factories.make_account("two")
    page.goto("/admin/accounts/account/")
    page.check("#action-toggle")
    page.select_option("select[name=action]", "delete_selected")
    page.click("button[name=index]")
    page.fill("#id_fix_reason", "both were made by mistake")
    page.click("input[type=submit]")
    page.wait_for_url("**/admin/accounts/account/")
    assert Account.objects.count() == 0


def test_the_way_back_to_the_console(page: Any) -> None:
    page.goto("/admin/")
    page.click("text=Back to the console")
    page.wait_for_load_state("networkidle")
    assert page.url.rstrip("/").count("/") == 2
