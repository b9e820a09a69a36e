"""Whatever way a row of ours is written, the trail says who, why and by which way, or nothing is written."""

from __future__ import annotations

from typing import Any

import pytest
from auditlog.registry import auditlog
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, models, transaction

from apps.access.models import Role, User
from apps.audit.models import AuditEntry
from apps.core.context import MissingActor, acting
from apps.core.querysets import RecordedQuerySet, recorded_fields
from apps.fleet.models import Instance
from apps.operations.models import Operation
from apps.tenants.models import Tenant
from tests import factories
from tests.audit.samples import SAMPLES, recorded_models

EVERY_MODEL = pytest.mark.parametrize("model", recorded_models(), ids=lambda m: m._meta.label_lower)
CREATE, UPDATE, DELETE = 0, 1, 2


@pytest.fixture
def auditor(db: None) -> User:
    return factories.make_user("auditor")


def entries(obj: models.Model, action: int | None = None) -> list[AuditEntry]:
    """The object's entries, oldest first."""
    content_type = ContentType.objects.get_for_model(type(obj))
    found = AuditEntry.objects.filter(content_type=content_type, object_pk=str(obj.pk)).order_by("pk")
    return list(found if action is None else found.filter(action=action))


def by_auditor(auditor: User) -> Any:
    return acting(auditor, reason="because of the test", via="api")


def assert_one(found: list[AuditEntry], auditor: User, *fields: str) -> None:
    assert len(found) == 1, found
    (entry,) = found
    assert (entry.actor_id, entry.reason, entry.via) == (auditor.pk, "because of the test", "api")
    assert set(fields) <= set(entry.changes), entry.changes


def stored(model: type[models.Model]) -> models.Model:
    """A row as it is found in the database."""
    obj = SAMPLES[model][0]()
    with factories.as_system():
        obj.save()
    return model._base_manager.get(pk=obj.pk)


def told(model: type[models.Model]) -> dict[str, Any]:
    """What the sample changes; a value that has to be a row is made by calling it."""
    with factories.as_system():
        return {name: value() if callable(value) else value for name, value in SAMPLES[model][1].items()}


def changed(obj: models.Model, to: dict[str, Any] | None = None) -> models.Model:
    for name, value in (to or told(type(obj))).items():
        is_row = isinstance(value, models.Model)
        setattr(obj, name, value if is_row else obj._meta.get_field(name).to_python(value))
    return obj


def test_every_recorded_model_has_a_sample() -> None:
    assert set(SAMPLES) == set(recorded_models())


@EVERY_MODEL
class TestEachModel:
    def test_its_managers_record(self, model: type[models.Model]) -> None:
        for manager in (model._default_manager, model._base_manager):
            assert isinstance(manager.all(), RecordedQuerySet), manager

    def test_creating(self, model: type[models.Model], auditor: User) -> None:
        obj = SAMPLES[model][0]()
        with by_auditor(auditor):
            obj.save()
        assert_one(entries(obj), auditor)
        assert entries(obj)[0].action == CREATE

    def test_saving(self, model: type[models.Model], auditor: User) -> None:
        obj = stored(model)
        with by_auditor(auditor):
            changed(obj).save()
        assert_one(entries(obj, UPDATE), auditor, *SAMPLES[model][1])

    def test_saving_without_a_change_leaves_none(self, model: type[models.Model], auditor: User) -> None:
        obj = stored(model)
        with by_auditor(auditor):
            obj.save()
            model._default_manager.filter(pk=obj.pk).update(**{n: getattr(obj, n) for n in SAMPLES[model][1]})
        assert entries(obj, UPDATE) == []

    @pytest.mark.parametrize("manager", ["_default_manager", "_base_manager"])
    def test_updating_a_queryset(self, model: type[models.Model], manager: str, auditor: User) -> None:
        obj = stored(model)
        with by_auditor(auditor):
            assert getattr(model, manager).filter(pk=obj.pk).update(**told(model)) == 1
        assert_one(entries(obj, UPDATE), auditor, *SAMPLES[model][1])

    def test_creating_in_bulk(self, model: type[models.Model], auditor: User) -> None:
        obj = SAMPLES[model][0]()
        with by_auditor(auditor):
            model._default_manager.bulk_create([obj])
        assert_one(entries(obj, CREATE), auditor)

    def test_updating_in_bulk(self, model: type[models.Model], auditor: User) -> None:
        obj = stored(model)
        with by_auditor(auditor):
            model._default_manager.bulk_update([changed(obj)], list(SAMPLES[model][1]))
        assert_one(entries(obj, UPDATE), auditor, *SAMPLES[model][1])

    def test_deleting(self, model: type[models.Model], auditor: User) -> None:
        one, other = stored(model), stored(model)
        gone = [model(pk=one.pk), model(pk=other.pk)]
        with by_auditor(auditor):
            one.delete()
            model._default_manager.filter(pk=other.pk).delete()
        for obj in gone:
            assert_one(entries(obj, DELETE), auditor)

    def test_an_unrecorded_update_of_an_audited_column_raises(
        self, model: type[models.Model], auditor: User
    ) -> None:
        with pytest.raises(ValueError, match="belong in the audit trail"):
            model._default_manager.unrecorded_update(**told(model))

    def test_raw_diff_and_bulk_diff_name_the_same_columns(
        self, model: type[models.Model], auditor: User
    ) -> None:
        kept = auditlog.get_model_fields(model)["exclude_fields"]
        assert {f.name for f in model._meta.concrete_fields if not f.primary_key} - set(kept) == set(
            recorded_fields(model)
        )


@pytest.mark.django_db(transaction=True)
@EVERY_MODEL
def test_without_an_actor_nothing_is_written(model: type[models.Model]) -> None:
    """Out of any transaction, where Django commits the row before it tells anybody."""
    new, obj = SAMPLES[model][0](), stored(model)
    change = told(model)
    before, trail = model._default_manager.count(), AuditEntry.objects.count()
    for write in (
        new.save,
        lambda: model._default_manager.bulk_create([new]),
        lambda: changed(model._base_manager.get(pk=obj.pk), change).save(),
        lambda: model._default_manager.filter(pk=obj.pk).update(**change),
        lambda: model._default_manager.bulk_update(
            [changed(model._base_manager.get(pk=obj.pk), change)], list(change)
        ),
        model(pk=obj.pk).delete,
        model._default_manager.filter(pk=obj.pk).delete,
    ):
        with pytest.raises(MissingActor):
            write()
    row = model._base_manager.get(pk=obj.pk)
    assert {name: getattr(row, name) for name in change} == {name: getattr(obj, name) for name in change}
    assert (model._default_manager.count(), AuditEntry.objects.count()) == (before, trail)


@pytest.mark.django_db(transaction=True)
def test_a_write_that_fails_leaves_no_entry() -> None:
    one, other = factories.make_tenant("one"), factories.make_tenant("other")
    other.key = one.key
    with factories.as_system(), pytest.raises(IntegrityError):
        other.save()
    assert entries(other, UPDATE) == []


@pytest.mark.django_db
class TestSetWise:
    def test_only_rows_that_changed_have_an_entry(self, auditor: User) -> None:
        same, different = factories.make_tenant(notes="x"), factories.make_tenant(notes="y")
        with by_auditor(auditor):
            Tenant.objects.update(notes="x")
        assert (entries(same, UPDATE), len(entries(different, UPDATE))) == ([], 1)
        assert entries(different, UPDATE)[0].changes == {"notes": ["y", "x"]}

    def test_expressions_are_recorded_as_what_they_came_to(self, auditor: User) -> None:
        cell = factories.make_cell(capacity=10)
        with by_auditor(auditor):
            type(cell).objects.filter(pk=cell.pk).update(capacity=models.F("capacity") + 5)
        assert entries(cell, UPDATE)[0].changes == {"capacity": ["10", "15"]}

    def test_queries_do_not_grow_with_the_rows(self, auditor: User, django_assert_num_queries: Any) -> None:
        for _ in range(3):
            factories.make_tenant()
        with by_auditor(auditor):
            Tenant.objects.update(notes="warm")
            with django_assert_num_queries(
                6
            ):  # savepoint, lock and read, write, read again, entries, release
                Tenant.objects.update(notes="new")
            for _ in range(7):
                factories.make_tenant()
            with django_assert_num_queries(6):
                Tenant.objects.update(notes="newer")

    def test_each_row_names_the_operation_that_answers_for_it(self, auditor: User) -> None:
        first, second = factories.make_instance(), factories.make_instance()
        with acting(auditor, reason="x", operation_of={first.pk: 41, second.pk: 42}):
            Instance.objects.update(wanted="stopped")
        assert [entries(i, UPDATE)[0].operation_id for i in (first, second)] == [41, 42]

    def test_related_managers_record(self, auditor: User) -> None:
        tenant = factories.make_tenant()
        with by_auditor(auditor):
            tenant.subscriptions.update(seats=9)
        assert_one(entries(tenant.subscriptions.get(), UPDATE), auditor, "seats")

    def test_a_cascade_is_recorded_row_by_row(self, auditor: User) -> None:
        instance = factories.make_instance()
        placement = factories.place(factories.make_tenant(), instance)
        gone = type(placement)(pk=placement.pk)
        with by_auditor(auditor):
            instance.delete()
        assert_one(entries(gone, DELETE), auditor)

    def test_a_bulk_create_that_may_skip_rows_is_refused(self, auditor: User) -> None:
        with (
            by_auditor(auditor),
            pytest.raises(ValueError, match="cannot say which rows"),
            transaction.atomic(),
        ):
            Role.objects.bulk_create([Role(name="x")], ignore_conflicts=True)
        assert not Role.objects.filter(name="x").exists()

    def test_observed_columns_pass_silently(self, auditor: User) -> None:
        instance = factories.make_instance()
        Instance.objects.filter(pk=instance.pk).unrecorded_update(health="failing")
        assert entries(instance, UPDATE) == []

    def test_the_engines_columns_pass_silently(self) -> None:
        with pytest.raises(ValueError, match="reason of Operation"):
            Operation.objects.unrecorded_update(state="running", reason="x")


@pytest.mark.django_db
class TestGroups:
    """Who is in a group is access, so it is recorded on the person, whichever side it was changed from."""

    @pytest.fixture
    def group(self) -> Group:
        with factories.as_system():
            return Group.objects.create(name="on call")

    def changes(self, user: User) -> list[Any]:
        return [e.changes["groups"] for e in entries(user, UPDATE)]

    def test_from_the_person(self, group: Group, auditor: User) -> None:
        user = factories.make_user()
        with by_auditor(auditor):
            user.groups.add(group)
            user.groups.add(group)
            user.groups.set([])
            user.groups.remove(group)
        added, removed = entries(user, UPDATE)
        assert added.changes == {"groups": {"type": "m2m", "operation": "add", "objects": ["on call"]}}
        assert removed.changes == {"groups": {"type": "m2m", "operation": "delete", "objects": ["on call"]}}
        assert (added.actor, added.reason, added.via) == (auditor, "because of the test", "api")

    def test_from_the_group(self, group: Group, auditor: User) -> None:
        user = factories.make_user()
        with by_auditor(auditor):
            group.user_set.add(user)
            group.user_set.clear()
            group.user_set.clear()
        assert [c["operation"] for c in self.changes(user)] == ["add", "delete"]

    def test_clear_names_only_what_was_in_it(self, group: Group, auditor: User) -> None:
        user = factories.make_user()
        with by_auditor(auditor):
            Group.objects.create(name="of others")
            user.groups.add(group)
            user.groups.clear()
        assert self.changes(user)[-1]["objects"] == ["on call"]

    def test_without_an_actor_nothing_is_written(self, group: Group) -> None:
        user = factories.make_user()
        with pytest.raises(MissingActor), transaction.atomic():
            user.groups.add(group)
        assert not user.groups.exists()

    def test_groups_themselves_are_recorded(self, group: Group) -> None:
        assert len(entries(group, CREATE)) == 1


@pytest.mark.django_db
class TestEntriesStand:
    def test_an_entry_is_never_changed_or_deleted(self, auditor: User) -> None:
        entry = entries(factories.make_tenant(), CREATE)[0]
        with pytest.raises(TypeError):
            entry.save()
        with pytest.raises(TypeError):
            entry.delete()
        for write in (lambda: AuditEntry.objects.update(reason="x"), AuditEntry.objects.all().delete):
            with pytest.raises(TypeError):
                write()

    def test_who_is_named_in_the_trail_cannot_be_deleted(self, auditor: User) -> None:
        with by_auditor(auditor):
            factories.make_account()
            Tenant.objects.create(key="t", name="t")
        with factories.as_system(), pytest.raises(models.ProtectedError), transaction.atomic():
            auditor.delete()


@pytest.mark.django_db
def test_what_stands_on_another_row_is_not_told_of_this_one() -> None:
    with factories.as_system():
        user = factories.make_user("new.person")
    entry = AuditEntry.objects.filter(object_pk=str(user.pk), action=AuditEntry.Action.CREATE).latest("id")
    assert "username" in entry.changes
    assert "grants" not in entry.changes
    assert not [change for change in entry.changes.values() if str(change[1]).endswith(".None")]
