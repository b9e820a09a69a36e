"""A database that is away: a plain 503 that says what it means, and the next request works again."""

from __future__ import annotations

import pytest
from django.db import OperationalError
from django.db.backends.utils import CursorWrapper
from django.test import Client

from tests.factories import make_user


@pytest.fixture
def reader(client: Client, db: None) -> Client:
    client.force_login(make_user(superuser=True), backend="django.contrib.auth.backends.ModelBackend")
    client.raise_request_exception = False
    return client


@pytest.mark.parametrize("path", ["/healthz", "/", "/instances/", "/tenants/lookup/?q=x"])
def test_it_is_told_plainly_and_comes_back(reader: Client, path: str) -> None:
    assert reader.get(path).status_code == 200
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.close", lambda self: None)
        # Every statement fails as it does when the server is gone; the test's own connection stays open.
        patch.setattr(CursorWrapper, "execute", _gone)
        answer = reader.get(path)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert b"cannot reach its database" in answer.content
    assert b"server closed" not in answer.content
    assert reader.get(path).status_code == 200


def _gone(*args: object, **kwargs: object) -> None:
    raise OperationalError("server closed the connection unexpectedly")
