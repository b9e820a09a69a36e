"""JSON from outside is refused where it could not be kept, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from apps.access import tokens
from apps.core import strict_json
from tests import factories

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
BAD = {
    "NUL": (b'{"reason": "a\\u0000b"}', "NUL"),
    "NUL in a key": (b'{"a\\u0000": 1}', "NUL"),
    "half a pair": (b'{"params": {"x": ["\\ud800"]}}', "surrogate"),
    "NaN": (b'{"params": NaN}', "NaN"),
    "too large": (b'{"params": 1e999}', "too large"),
    "deep": (b"[" * 100_000, "nested"),
    "cut off": (b'{"kind": 1', "delimiter"),
    "no UTF-8": (b"\xff\xfe\x00", "decode|truncated"),
}


@given(PLAIN)
def test_what_json_can_say_is_read_as_ever(value: Any) -> None:
    assert strict_json.loads(json.dumps(value)) == value


@pytest.mark.parametrize(("raw", "why"), BAD.values(), ids=BAD)
def test_what_cannot_be_kept_is_refused_with_the_reason(raw: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        strict_json.loads(raw)


def test_a_whole_pair_is_a_letter() -> None:
    assert strict_json.loads(b'"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.django_db
@pytest.mark.parametrize("raw", [raw for raw, _ in BAD.values()], ids=BAD)
def test_the_api_and_the_directory_answer_400(raw: bytes) -> None:
    root = factories.make_user("root", superuser=True)
    _, secret = tokens.issue(
        owner=root, name="ci", permissions=["view", "restart", "provision", "roll_out"], days=7
    )
    client = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {secret}"})
    for path in ("/api/v1/operations", "/scim/v2/Users", "/scim/v2/Groups"):
        answer = client.post(path, raw, content_type="application/json", headers={"Idempotency-Key": "k"})
        assert answer.status_code == 400, path
    for path in ("/api/v1/instances?version=%00", "/api/v1/operations?state=a%00"):
        assert client.get(path).status_code == 400, path
