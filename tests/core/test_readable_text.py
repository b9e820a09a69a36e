"""What no column can hold is refused before a view sees it, and where a form leads back to is an address of ours."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from apps.access.listing import safe_cell
from apps.core.models import SavedView
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    client = Client(raise_request_exception=False)
    user = factories.make_user("root", superuser=True)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.mark.parametrize(
    "data", [{"name": "a\x00b"}, {"name": "a", "query": "\x00"}, {"name": "a", "x\x00": ""}]
)
def test_a_form_with_nul_is_refused_and_says_why(client: Client, data: dict[str, str]) -> None:
    answer = client.post(reverse("core:save_view"), {"page": "fleet:instances", **data})
    assert answer.status_code == 400
    assert "NUL" in answer.content.decode()
    assert not SavedView.objects.exists()


@pytest.mark.parametrize(
    "back", ["foo", "fleet:overview", "https://evil.example/", "//evil.example", "javascript:x"]
)
def test_a_deleted_view_leads_back_to_an_address_and_to_no_other_host(client: Client, back: str) -> None:
    client.post(reverse("core:save_view"), {"page": "fleet:instances", "name": "mine"})
    view = SavedView.objects.get()
    answer = client.post(reverse("core:delete_view", args=[view.pk]), {"next": back})
    assert answer.status_code == 302
    assert "evil" not in answer["Location"] and "javascript" not in answer["Location"]
    assert not SavedView.objects.exists()


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"), ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"), ("-2+3", "'-2+3"), ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"), ("\r=1", "'\r=1"), ("\n=1", "'\n=1"), (-5, "-5"), ("-5.20", "-5.20"), ("+3 %", "+3 %"),
        ("-1,234.50", "-1,234.50"), ("-A1", "'-A1"), ("--1", "'--1"), (None, ""), ("plain", "plain"),
    ],
)  # fmt: skip
def test_no_cell_is_a_formula_and_a_figure_stays_one(value: object, cell: str) -> None:
    assert safe_cell(value) == cell
