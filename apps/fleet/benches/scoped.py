"""The instance list for a person with 1,000 tenant scopes: against an unscoped superuser's, and against guardian's own way."""

from collections.abc import Iterator

from django.contrib.auth.models import Permission as ModelPermission
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.test import Client
from django.test.utils import setup_test_environment, teardown_test_environment
from django.urls import reverse
from guardian.models import UserObjectPermission
from guardian.shortcuts import get_objects_for_user

from apps.access.choices import ScopeKind
from apps.access.models import Grant, Role, User
from apps.access.scoping import visible
from apps.access.services import give_grant, scope_for, seed_roles, system_actor
from apps.core.context import acting
from apps.tenants.models import Tenant

from ..models import Instance
from ..seeding import seed, seeded
from .figures import Figure, median_ms

INSTANCES, SCOPES = 100_000, 1_000
#: Rows of a page of the list.
PAGE = 50


def scoped() -> Iterator[Figure]:
    """Median time of the list for each of the two, and their ratio; then of one page's rows by our way and by guardian's."""
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
        yield from beside_guardian(actor, scopes=SCOPES)
    finally:
        teardown_test_environment()


def beside_guardian(actor: User, *, scopes: int) -> Iterator[Figure]:
    """The first PAGE rows and the number of all: by `visible` for who holds `scopes` tenants, and by guardian for who
    holds a permission on each of the same instances. Raises where the two do not find the same rows.
    """
    holder = _holder("bench-scoped", actor, scopes=scopes)
    tenants = list(Grant.objects.filter(user=holder).values_list("scope__object_id", flat=True))
    other = _guarded("bench-guardian", tenants, actor)

    def ours() -> tuple[list[Instance], int]:
        person = User.objects.get(pk=holder.pk)  # anew, as a request does: what is kept of scopes lives on it
        rows = visible(person, Instance)
        return list(rows.order_by("name")[:PAGE]), rows.count()

    def guardians() -> tuple[list[Instance], int]:
        person = User.objects.get(pk=other.pk)
        rows: QuerySet[Instance] = get_objects_for_user(person, "fleet.view_instance")
        return list(rows.order_by("name")[:PAGE]), rows.count()

    if ours() != guardians():
        raise RuntimeError("The two ways do not find the same instances; the figures would compare nothing.")
    mine, theirs = median_ms(ours), median_ms(guardians)
    what = f"{PAGE} rows and their count, {len(tenants):,} tenants"
    yield Figure(f"{what}, scopes", mine, "ms")
    yield Figure(f"{what}, guardian's get_objects_for_user", theirs, "ms")
    yield Figure(f"{what}, guardian against scopes", theirs / mine, "times")


def _guarded(name: str, tenants: list[int], actor: User) -> User:
    """A person with guardian's generic row for each instance that serves one of the tenants, and none else."""
    with acting(actor, reason="bench", via="command"):
        user: User = User.objects.get_or_create(username=name, defaults={"email": f"{name}@daytwo.example"})[
            0
        ]
    kind = ContentType.objects.get_for_model(Instance)
    permission = ModelPermission.objects.get(content_type=kind, codename="view_instance")
    UserObjectPermission.objects.filter(user=user).delete()
    holder = User.objects.get(username="bench-scoped")
    instances = visible(holder, Instance).order_by().values_list("pk", flat=True)
    UserObjectPermission.objects.bulk_create(
        UserObjectPermission(user=user, permission=permission, content_type=kind, object_pk=str(pk))
        for pk in instances
    )
    return user


def _client(name: str, actor: User) -> Client:
    client = Client()
    client.force_login(
        _holder(name, actor, scopes=0 if name == "bench-root" else SCOPES),
        backend="django.contrib.auth.backends.ModelBackend",
    )
    return client


def _holder(name: str, actor: User, *, scopes: int) -> User:
    """The person of this name with so many tenants; `bench-root` is a superuser."""
    with acting(actor, reason="bench", via="command"):
        seed_roles()
        user: User = User.objects.get_or_create(
            username=name,
            defaults={"email": f"{name}@daytwo.example", "is_superuser": name == "bench-root"},
        )[0]
        role = Role.objects.get(name="operator")
        lacking = max(0, scopes - Grant.objects.filter(user=user).count())
        for tenant in Tenant.objects.order_by("-pk")[:lacking]:
            give_grant(
                to=user, role=role, scope=scope_for(ScopeKind.TENANT, tenant), actor=actor, reason="bench"
            )
    return user


def _time(client: Client, url: str) -> float:
    def get() -> None:
        response = client.get(url)
        if response.status_code != 200:
            raise RuntimeError(f"{url} answered {response.status_code}")

    return median_ms(get)
