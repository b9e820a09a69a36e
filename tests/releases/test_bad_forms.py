"""A form that says something wrong comes back with what is wrong, also where the words hold a per cent sign."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from apps.access.models import User
from apps.releases.models import Release, Rollout

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("canary", ["-1", "0", "101%", "five", "%s"])
def test_a_first_wave_that_is_no_amount(boss: User, release: Release, canary: str) -> None:
    client = Client()
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    data = {
        "release": release.pk, "canary": canary, "growth": "2", "concurrency": "1", "bake_seconds": "0", "gate": "health",
        "min_requests": "1", "on_fail": "abort", "reason": "ticket 7",
    }  # fmt: skip
    answer = client.post(reverse("releases:new_rollout"), data)
    assert answer.status_code == 422
    assert "such as 5%." in answer.content.decode()
    assert not Rollout.objects.exists()
