"""Secrets are planted everywhere somebody may type or keep one; then everything that was written or shown is searched."""

from __future__ import annotations

import logging
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from apps.audit import sealing, signing, streaming
from apps.audit.models import AuditEntry, AuditStream
from tests import factories
from tests.access.scim import Directory

PASSWORD, NEW, WRONG = "canary-password-one-11", "canary-password-two-22", "canary-wrong-33"
SCIM = "canary-scim-password-66"
STREAM, COOKIE = "canary-stream-secret-44", "canary-cookie-55"


def whole_trail() -> str:
    """Every column of every entry and event, as text."""
    with connection.cursor() as cursor:
        found = ""
        for table in (
            "audit_auditentry",
            "core_event",
            "audit_auditstream",
            "audit_auditcheck",
            "access_hand",
            "access_scimgroup",
        ):
            cursor.execute(f"SELECT string_agg(t::text, E'\\n') FROM {table} t")
            found += cursor.fetchone()[0] or ""
    return found


@pytest.mark.django_db
def test_no_secret_is_found_in_the_trail_the_log_an_export_or_an_error_page(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("AUDIT_STREAM_CANARY", STREAM)
    shown: list[str] = []

    def keep(answer: Any) -> None:
        shown.append(
            b"".join(answer.streaming_content if answer.streaming else [answer.content]).decode(
                errors="replace"
            )
        )

    ada = factories.make_user("ada", password=PASSWORD)
    factories.grant(ada, "admin")
    client = Client(raise_request_exception=False)
    # Ways in: right, wrong, in the wrong field, by a link.
    for form in (
        {"login": "ada", "password": WRONG},
        {"login": WRONG, "password": "x"},
        {"login": "ada", "password": PASSWORD},
    ):
        keep(client.post("/accounts/login/", form))
    out = StringIO()
    call_command("signin_link", user="ada", stdout=out)
    link = out.getvalue().split()[-1]
    token = link.partition("sesame=")[2]
    keep(Client().post("/access/signin/", {"sesame": token}))
    keep(
        client.post(
            "/accounts/password/change/", {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW}
        )
    )
    # Second factor, as allauth keeps it.
    from allauth.mfa.totp.internal.auth import TOTP

    seed = "CANARYTOTPSEEDCANARYTOTPSEED2345"
    with factories.as_system():
        TOTP.activate(ada, seed)
        AuditStream.objects.create(
            name="siem", kind="webhook", url="http://127.0.0.1:9/in", secret_env="AUDIT_STREAM_CANARY"
        )
    # Refusals and errors, with secrets in the query, the form, the cookies.
    client.cookies["other"] = COOKIE
    for path in ("/nowhere/", "/audit/999999/", "/healthz"):
        keep(client.get(path, {"password": WRONG, "token": token}))
    keep(Client(enforce_csrf_checks=True).post("/accounts/login/", {"login": "ada", "password": PASSWORD}))
    monkeypatch.setattr("apps.audit.views.trail", lambda user: 1 / 0)
    error = client.get("/audit/", {"password": WRONG})
    assert error.status_code == 500
    keep(error)
    monkeypatch.undo()
    monkeypatch.setenv("AUDIT_STREAM_CANARY", STREAM)
    # The directory: its token, and passwords that it sends although nobody keeps them.
    with factories.as_system():
        directory = Directory(ada)
        for body in (
            {"userName": "bob", "password": SCIM},
            {"userName": SCIM * 20},
            f'{{"password": "{SCIM}"'.encode(),
        ):
            directory("POST", "Users", body)
        directory("GET", "Users", secret=f"dt_{SCIM}")
        directory("GET", f"Users?filter=password%20eq%20%22{SCIM}%22")
        keep(client.get(reverse("access:scim")))
        keep(client.get(reverse("access:tokens")))
    # What leaves.
    sealing.seal()
    streaming.deliver_due()
    call_command("audit", "export", str(tmp_path / "out"), stdout=StringIO())
    exported = "".join(path.read_text() for path in (tmp_path / "out").iterdir())
    for url in ("/audit/", "/audit/seals/", reverse("audit:streams")):
        keep(client.get(url))
    keep(client.get("/audit/", {"_export": "jsonl"}))

    ada.refresh_from_db()
    import base64

    private = base64.b64encode(signing.signing_key().private_bytes_raw()).decode()
    secrets = {
        "password": PASSWORD, "new password": NEW, "wrong password": WRONG, "hash": ada.password, "sign-in link": token,
        "TOTP seed": seed, "stream's secret": STREAM, "cookie": COOKIE, "signing key": private,
        "directory's token": directory.secret, "token's digest": directory.token.digest, "password by SCIM": SCIM,
        **{f"session {n}": session.session_key for n, session in enumerate(Session.objects.all())},
        **{f"cookie {n}": c.value for n, c in client.cookies.items() if n == "sessionid"},
    }  # fmt: skip
    assert AuditEntry.objects.filter(event="sign_in").count() == 2
    assert len(secrets) > 9
    assert all(secrets.values())
    places = {"trail": whole_trail(), "export": exported}
    for name, secret in secrets.items():
        for place, text in places.items():
            assert secret not in text, f"the {name} is in the {place}"
        # A page shows its reader what they typed into its own form and address, never anything else.
        if name != "wrong password":
            assert not any(secret in text for text in shown), f"the {name} is on a page"
        logged = [
            record
            for record in caplog.records
            if not record.name.startswith(("django.db", "httpx", "httpcore"))
        ]
        assert not any(secret in record.getMessage() + str(record.exc_text or "") for record in logged), (
            f"the {name} is in the log"
        )
    assert WRONG not in error.content.decode()
