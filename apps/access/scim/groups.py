"""Groups as the directory keeps them here, and what they mean: the groups of ours that `SsoGroup` maps them to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.contrib.auth.models import Group
from django.db.models import Q

from apps.core.events import event, record

from ..choices import HandKind
from ..models import ScimGroup, SsoGroup, User
from .clients import Client
from .errors import ScimError, bad_value, taken
from .reading import Change, members_of, text

Meant = dict[int, frozenset[int]]
#: Attributes of a group that are ours to say, or that no one needs.
PASSED_OVER = ("schemas", "id", "meta")


@dataclass(slots=True)
class Wanted:
    """How a group is to be; None is as it is."""

    display_name: str | None = None
    external_id: str | None = None
    members: set[int] | None = None
    add: set[int] = field(default_factory=set)
    remove: set[int] = field(default_factory=set)


def find(pk: str) -> ScimGroup:
    """A group of the directory. Raises ScimError 404."""
    found = (
        ScimGroup.objects.filter(pk=int(pk)).first()
        if pk.isascii() and pk.isdigit() and len(pk) < 19
        else None
    )
    if found is None:
        raise ScimError(404, f"No such group: {pk[:40]}")
    return found


def wanted_of(body: Mapping[str, object]) -> Wanted:
    """How a whole resource wants the group. Raises ScimError."""
    wanted = Wanted(display_name=text("displayName", body.get("displayname"), 200))
    if not wanted.display_name:
        raise bad_value("displayName is required.")
    if "externalid" in body:
        wanted.external_id = text("externalId", body["externalid"], 254)
    if "members" in body:
        wanted.members = set(members_of(body["members"] or []))
    return wanted


def wanted_by(operations: list[Change]) -> Wanted:
    """How a PATCH wants the group: its operations in order. Raises ScimError."""
    wanted = Wanted()
    for one in operations:
        name, value = one.path.attribute, None if one.op == "remove" else one.value
        if name == "displayname":
            wanted.display_name = text("displayName", value, 200)
            if not wanted.display_name:
                raise bad_value("displayName cannot be empty.")
        elif name == "externalid":
            wanted.external_id = text("externalId", value, 254)
        elif name == "members":
            _members(wanted, one)
        elif name not in PASSED_OVER and not name.startswith("urn:"):
            raise ScimError(400, f"A group has no attribute {name[:80]}.", "invalidPath")
    return wanted


def _members(wanted: Wanted, one: Change) -> None:
    if one.path.where is not None and one.path.where[0] != "value":
        raise ScimError(400, 'Choose members by members[value eq "id"].', "invalidPath")
    if one.path.where is not None:
        named = set(members_of([one.path.where[1]]))
    else:
        named = set(members_of(one.value if one.value is not None else []))
    if one.op == "replace" or (one.op == "remove" and one.path.where is None and one.value is None):
        wanted.members, wanted.add, wanted.remove = named, set(), set()
    elif one.op == "add":
        wanted.add, wanted.remove = wanted.add | named, wanted.remove - named
    else:
        wanted.remove, wanted.add = wanted.remove | named, wanted.add - named


def make(client: Client, wanted: Wanted) -> ScimGroup:
    """A new group with its members. Raises ScimError 409 for a name that is taken, 403 beyond what the client may give."""
    with client.writing(f"makes the group {wanted.display_name}"):
        before = _meant_by(wanted.add | (wanted.members or set()))
        group = ScimGroup()
        _set(group, wanted)
        _fill(client, group, frozenset(), wanted, before)
    return group


def change(client: Client, pk: str, wanted: Wanted) -> ScimGroup:
    """Change a group, and with it who is in what it means. Raises ScimError as `make`."""
    with client.writing("changes a group"):
        group = ScimGroup.objects.select_for_update().get(pk=find(pk).pk)
        held = frozenset(group.members.values_list("pk", flat=True))
        before = _meant_by(held | wanted.add | (wanted.members or set()))
        _set(group, wanted)
        _fill(client, group, held, wanted, before)
    return group


def drop(client: Client, pk: str) -> None:
    """Take a group away; who was in it is out of what it meant."""
    with client.writing("drops a group"):
        group = ScimGroup.objects.select_for_update().get(pk=find(pk).pk)
        held = frozenset(group.members.values_list("pk", flat=True))
        before = _meant_by(held)
        group.members.clear()
        _apply(client, before, _meant_by(held))
        record([event("scim.group_dropped", f"The directory dropped its group {group}")])
        group.delete()


def _set(group: ScimGroup, wanted: Wanted) -> None:
    others = ScimGroup.objects.exclude(pk=group.pk)
    if wanted.display_name is not None:
        if others.filter(display_name__iexact=wanted.display_name).exists():
            raise taken(f"There is a group {wanted.display_name} already.")
        group.display_name = wanted.display_name
    if wanted.external_id is not None:
        if wanted.external_id and others.filter(external_id=wanted.external_id).exists():
            raise taken(f"A group has the externalId {wanted.external_id} already.")
        group.external_id = wanted.external_id
    group.save()


def _fill(client: Client, group: ScimGroup, held: frozenset[int], wanted: Wanted, before: Meant) -> None:
    after = ((held if wanted.members is None else wanted.members) | wanted.add) - wanted.remove
    joining = after - held
    known = set(client.people().filter(pk__in=joining).values_list("pk", flat=True))
    if unknown := joining - known:
        raise bad_value(f"No such member: {min(unknown)}")
    group.members.add(*joining)
    group.members.remove(*(held - after))
    words = f"The directory's group {group} has {len(after)} members: {len(joining)} came, {len(held - after)} went"
    record([event("scim.group", words)])
    _apply(client, before, _meant_by(held | after))


def meant(rows: Iterable[ScimGroup]) -> frozenset[int]:
    """Ids of the groups of ours that these mean together."""
    names = {name for row in rows for name in (row.display_name, row.external_id) if name}
    return frozenset(SsoGroup.objects.filter(claim__in=names).values_list("group", flat=True))


def _meant_by(people: Iterable[int]) -> Meant:
    """By person what their groups of the directory mean now; nothing for who has left. Three queries."""
    means: dict[str, set[int]] = {}
    for claim, group in SsoGroup.objects.values_list("claim", "group"):
        means.setdefault(claim, set()).add(group)
    wanted = Q(display_name__in=means) | Q(external_id__in=means)
    found: dict[int, set[int]] = {pk: set() for pk in people}
    rows = ScimGroup.objects.filter(wanted, members__in=list(found), members__is_active=True)
    for person, *names in rows.values_list("members", "display_name", "external_id"):
        for name in names:
            found[person] |= means.get(name, set()) if name else set()
    return {person: frozenset(groups) for person, groups in found.items()}


def _apply(client: Client, before: Meant, after: Meant) -> None:
    """Put people into what they are newly in, and out of what they are no longer in by any group of the directory."""
    nothing: frozenset[int] = frozenset()
    join(client, {pk: groups - before.get(pk, nothing) for pk, groups in after.items()})
    gone: dict[int, set[int]] = {}
    for pk, groups in before.items():
        for group in groups - after.get(pk, nothing):
            gone.setdefault(group, set()).add(pk)
    for ours in Group.objects.filter(pk__in=gone).order_by("name"):
        ours.user_set.remove(*gone[ours.pk])
        record([event("group.left", f"{len(gone[ours.pk])} left the group {ours}, as the directory says")])


def join(client: Client, wanted: Mapping[int, frozenset[int]]) -> None:
    """Put people (id → ids of our groups) into groups, within what the client may give. Raises ScimError 403."""
    new: dict[int, set[int]] = {}
    for pk, groups in wanted.items():
        for group in groups:
            new.setdefault(group, set()).add(pk)
    ours = list(Group.objects.filter(pk__in=new).order_by("name"))
    client.check_may_fill(ours)
    for one in ours:
        one.user_set.add(*User.objects.filter(pk__in=new[one.pk], is_active=True).order_by("pk"))
        client.note(HandKind.JOINED, new[one.pk], f"filled the group {one}", group=one.pk)
        record([event("group.joined", f"{len(new[one.pk])} joined the group {one}, as the directory says")])
