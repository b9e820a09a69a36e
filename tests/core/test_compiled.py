"""A statement that is compiled once asks anew each time."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from threading import Thread
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.db.models import Case, Count, F, IntegerField, QuerySet, Value, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import TruncDate
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from apps.core.arrays import MomentBeside, among
from apps.core.compiled import Compiled, compiled, kept, one_of
from apps.core.models import Event
from tests.factories import as_system, make_user

pytestmark = pytest.mark.django_db


@compiled
def _named(kind: str, *, name: Any) -> QuerySet[Group]:
    built.append(kind)
    lookup = {"is": "name", "holds": "name__contains"}[kind]
    return Group.objects.filter(**{lookup: name}).order_by("name")


built: list[str] = []


@pytest.fixture(autouse=True)
def groups() -> None:
    built.clear()
    kept.cache_clear()
    with as_system():
        for name in ("100 % sure", "a'b", "c"):
            Group.objects.create(name=name)


class TestCompiled:
    def test_it_is_built_once_for_a_shape_and_read_each_time(self) -> None:
        assert [g.name for g in _named("is", name="c")] == ["c"]
        with as_system():
            Group.objects.filter(name="c").delete()
        assert _named("is", name="c") == []
        assert built == ["is"]

    def test_each_shape_is_built(self) -> None:
        _named("is", name="c")
        assert [g.name for g in _named("holds", name="sure")] == ["100 % sure"]
        assert built == ["is", "holds"]

    @pytest.mark.parametrize("name", ["100 % sure", "a'b", "%s", "a'; DROP TABLE auth_group; --"])
    def test_values_go_as_parameters(self, name: str) -> None:
        assert [g.name for g in _named("is", name=name)] == [g.name for g in Group.objects.filter(name=name)]

    @pytest.mark.parametrize("name", ["100 % sure", "a'b", "%s", "back\\slash"])
    def test_constants_are_written_in_as_the_driver_would(self, name: str) -> None:
        with as_system():
            Group.objects.get_or_create(name=name)
        rows = Compiled(Group.objects.filter(name=name).values_list("name", flat=True))
        assert rows.rows({}) == [name]
        assert "%s" not in rows.statement.replace("%%", "")

    def test_ids_go_as_one_array(self) -> None:
        @compiled
        def some(*, ids: Any) -> QuerySet[Group, str]:
            return Group.objects.filter(pk=one_of(ids)).order_by("name").values_list("name", flat=True)

        @compiled
        def others(*, ids: Any) -> QuerySet[Group, str]:
            return Group.objects.exclude(pk__in=among(ids)).order_by("name").values_list("name", flat=True)

        ids = list(Group.objects.filter(name__in=("a'b", "c")).values_list("pk", flat=True))
        assert some(ids=ids) == ["a'b", "c"]
        assert some(ids=[]) == []
        assert others(ids=ids) == ["100 % sure"]

    def test_what_fits_nothing_is_not_asked(self) -> None:
        rows = Compiled(Group.objects.filter(pk__in=()))
        with CaptureQueriesContext(connection) as asked:
            assert rows.rows({}) == []
        assert len(asked) == 0
        assert rows.statement == ""

    def test_related_rows_sums_and_dictionaries_come_as_ever(self) -> None:
        actor = make_user()
        Event.objects.create(kind="a.b", title="one", actor=actor, instance_id=3)
        (event,) = Compiled(Event.objects.select_related("actor")).rows({})
        with CaptureQueriesContext(connection) as asked:
            assert event.actor == actor
        assert len(asked) == 0
        one = Value(1)
        assert Compiled(Group.objects.order_by().values(n=one).annotate(all=Count("pk"))).rows({}) == [
            {"n": 1, "all": 3}
        ]
        negative = Case(When(name="c", then=-F("pk")), default=F("pk"), output_field=IntegerField())
        assert sum(n < 0 for (n,) in Compiled(Group.objects.values_list(negative)).rows({})) == 1

    def test_a_moment_that_is_not_given_is_refused(self) -> None:
        rows = Event.objects.filter(at__gte=timezone.now())
        with pytest.raises(ValueError, match="give it by keyword"):
            Compiled(rows)

    def test_nor_among_others(self) -> None:
        told = RawSQL("SELECT unnest(%s::date[])", [[date(2026, 1, 1)]])
        with pytest.raises(ValueError, match="give it by keyword"):
            Compiled(Event.objects.annotate(day=TruncDate("at")).filter(day__in=told))

    def test_days_are_not_of_the_zone_of_who_asked_first(self) -> None:
        with timezone.override("Pacific/Auckland"):
            kept_then = Compiled(Event.objects.annotate(day=TruncDate("at")))
        assert kept_then.statement == Compiled(Event.objects.annotate(day=TruncDate("at"))).statement

    def test_what_a_function_holds_on_to_is_refused(self) -> None:
        name = "c"
        with pytest.raises(TypeError, match="give it as an argument"):
            compiled(lambda: Group.objects.filter(name=name))

    def test_a_person_is_no_shape(self) -> None:
        """Somebody is equal to who they were before their scopes changed: `access.scoped` is for who reads."""

        @compiled
        def mine(user: Any, *, name: Any) -> QuerySet[Group]:
            return Group.objects.filter(user=user, name=name)

        for user in (make_user(), SimpleLazyObject(make_user)):
            with pytest.raises(TypeError, match="as it is now"):
                mine(user, name="c")

    def test_what_is_asked_without_its_values_is_refused(self) -> None:
        with pytest.raises(TypeError, match="asked with name"):
            _named("is")

    def test_a_moment_stands_beside_its_id(self) -> None:
        actor, now = make_user(), timezone.now()
        for pk, hours in ((1, 3), (1, 1), (2, 3), (3, 1)):
            Event.objects.create(
                kind="a.b",
                title=f"{pk} {hours}",
                actor=actor,
                instance_id=pk,
                at=now - timedelta(hours=hours),
            )

        @compiled
        def since(*, ids: Any, moments: Any) -> QuerySet[Event, str]:
            rows = Event.objects.filter(at__gte=MomentBeside("instance_id", ids, moments))
            return rows.order_by("title").values_list("title", flat=True)

        moments = [now - timedelta(hours=2), now - timedelta(hours=4)]
        assert since(ids=[1, 2], moments=moments) == ["1 1", "2 3"]
        assert since(ids=[2, 1], moments=moments) == ["1 1", "1 3"]


@pytest.mark.django_db(transaction=True)
def test_threads_ask_the_same_statement_each_for_its_own() -> None:
    def ask(number: int) -> list[str]:
        try:
            return [group.name for _ in range(20) for group in _named("is", name=("a'b", "c")[number % 2])]
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(ask, range(16)))
    assert found == [[("a'b", "c")[number % 2]] * 20 for number in range(16)]


@pytest.mark.parametrize("kind", ["is", "holds"])
def test_no_statement_holds_on_to_the_connection_of_a_thread_that_has_ended(kind: str) -> None:
    """A server's threads come and go; each connection that outlived its thread would be the database's to keep open."""
    left: list[Any] = []

    def ask() -> None:
        kept.cache_clear()
        _named(kind, name="c")
        left.append(weakref.ref(connection.connection))

    thread = Thread(target=ask)
    thread.start()
    thread.join()
    gc.collect()
    assert kept.cache_info().currsize
    assert left[0]() is None
