"""The instance list for a person with 1,000 tenant scopes, against an unscoped superuser's."""

from collections.abc import Iterator

from django.test import Client
from django.test.utils import setup_test_environment, teardown_test_environment
from django.urls import reverse

from apps.access.choices import ScopeKind
from apps.access.models import Grant, Role, User
from apps.access.services import give_grant, scope_for, seed_roles, system_actor
from apps.core.context import acting
from apps.tenants.models import Tenant

from ..seeding import seed, seeded
from .figures import Figure, median_ms

INSTANCES, SCOPES = 100_000, 1_000


def scoped() -> Iterator[Figure]:
    """Median time of the list for each of the two, and their ratio."""
    actor = system_actor("command")
    setup_test_environment()
    try:
        if (rest := INSTANCES - seeded()) > 0:
            seed(instances=rest, tenants=rest // 5, actor=actor)
        url = reverse("fleet:instances")
        free, narrow = (_time(_client(name, actor), url) for name in ("bench-root", "bench-scoped"))
        yield Figure(f"instance list, {INSTANCES:,}, superuser", free, "ms")
        yield Figure(f"instance list, {INSTANCES:,}, {SCOPES:,} tenant scopes", narrow, "ms")
        yield Figure("instance list, scoped against superuser", narrow / free, "times", at_most=2)
    finally:
        teardown_test_environment()


def _client(name: str, actor: User) -> Client:
    with acting(actor, reason="bench", via="command"):
        seed_roles()
        is_root = name == "bench-root"
        user, _ = User.objects.get_or_create(
            username=name, defaults={"email": f"{name}@daytwo.example", "is_superuser": is_root}
        )
        role = Role.objects.get(name="operator")
        lacking = 0 if is_root else SCOPES - Grant.objects.filter(user=user).count()
        for tenant in Tenant.objects.order_by("-pk")[:lacking]:
            give_grant(
                to=user, role=role, scope=scope_for(ScopeKind.TENANT, tenant), actor=actor, reason="bench"
            )
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def _time(client: Client, url: str) -> float:
    def get() -> None:
        response = client.get(url)
        if response.status_code != 200:
            raise RuntimeError(f"{url} answered {response.status_code}")

    return median_ms(get)
