"""Secrets are taken out of what people read; what is no secret stays."""

import pytest

from apps.core.redacting import PUT, redacted

SECRETS = [
    ("login with password=hunter2 for olga", "hunter2"),
    ('{"client_secret": "s3cr\\"et", "user": "olga"}', "s3cr"),
    ("Authorization: Bearer abc.def-ghi0123456789", "abc.def"),
    ("authorization=Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpw"),
    ("got Bearer 0123456789abcdef from olga", "0123456789abcdef"),
    ("connect postgresql://daytwo:pa55word@db:5432/x", "pa55word"),
    ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "wJalrXUt"),
    ("used AKIAIOSFODNN7EXAMPLE for s3", "AKIAIOSFODNN7EXAMPLE"),
    ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "eyJhbGci"),
    ("GET /cb?code=1&access_token=tok-123&x=1", "tok-123"),
    ("Cookie: sessionid=abcdef; csrftoken=xyz", "abcdef"),
    ("-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----", "MIIEvQ"),
    ("push with ghp_abcdefghijklmnopqrstuvwxyz0123", "ghp_abc"),
    ("x-api-key: 9f8e7d", "9f8e7d"),
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_a_secret_is_taken_out(text: str, secret: str) -> None:
    assert secret not in redacted(text)
    assert PUT in redacted(text)
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "GET /t/acme/ 200 in 12.3 ms",
        "the token was refused",
        "3 tokens left",
        "password of olga was changed",
        "https://daytwo.example.com:8443/alerts/?q=1",
        '{"tenant": "acme", "request_id": "req-1", "ms": 1.5}',
        "",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text
