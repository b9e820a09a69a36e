"""People as the directory wants them: made, changed, gone and back."""

from collections.abc import Mapping
from typing import Any

from django.db.models import Q

from apps.core.choices import Tone
from apps.core.events import event, record

from .. import leaving
from ..choices import HandKind
from ..models import User
from . import groups
from .clients import Client
from .errors import ScimError, bad_value, taken
from .reading import Change, fields_of

#: Fields by which somebody is known; who may set them may become that person.
IDENTITY = ("username", "email", "external_id")


def find(client: Client, pk: str) -> User:
    """A person that the client reaches. Raises ScimError 404."""
    found = (
        client.people().filter(pk=int(pk)).first() if pk.isascii() and pk.isdigit() and len(pk) < 19 else None
    )
    if found is None:
        raise ScimError(404, f"No such user: {pk[:40]}")
    return found


def make(client: Client, fields: Mapping[str, Any]) -> User:
    """A new person, without a password: they sign in at the provider. Raises ScimError 409 for a name that is taken."""
    with client.writing(f"makes {fields['username']}"):
        _check_is_free(fields, None)
        person = User(**{key: value for key, value in fields.items() if key != "is_active"})
        person.set_unusable_password()
        person.is_active = fields.get("is_active", True)
        person.save()
        client.note(HandKind.MADE, [person.pk], f"made the account of {person}")
        record([event("person.made", f"The directory made {person}")])
    return person


def change(client: Client, pk: str, fields: Mapping[str, Any]) -> User:
    """Set fields of a person; `is_active` false ends all that they hold, true puts them into their groups again.

    Raises ScimError 403 for the identity of who may do more than the client may give, 409 for a name that is taken.
    """
    with client.writing("changes a person") as actor:
        person: User = User.objects.select_for_update().get(pk=find(client, pk).pk)
        new = {key: value for key, value in fields.items() if getattr(person, key) != value}
        active = new.pop("is_active", None)
        if "username" in new and not new["username"]:
            raise bad_value("userName cannot be empty.")
        if any(key in new for key in IDENTITY):
            client.check_may_be(person)
            _check_is_free(new, person)
            client.note(HandKind.IDENTITY, [person.pk], f"changed by what {person} signs in")
        for key, value in new.items():
            setattr(person, key, value)
        if new:
            person.save()
        if active is False:
            leaving.leave(person, actor=actor, reason=client.reason("ends all access"))
        elif active:
            _come_back(client, person)
    return person


def changed_by(operations: list[Change]) -> dict[str, Any]:
    """The fields that a PATCH sets, the last one counting; what is removed is empty. Raises ScimError."""
    fields: dict[str, Any] = {}
    for one in operations:
        fields |= fields_of(one.path, None if one.op == "remove" else one.value)
    return fields


def _come_back(client: Client, person: User) -> None:
    person.is_active = True
    person.save()
    client.note(HandKind.BACK, [person.pk], f"switched the account of {person} on again")
    groups.join(client, {person.pk: groups.meant(person.scim_groups.all())})
    record([event("person.back", f"The directory says that {person} is back", tone=Tone.WARN)])


def _check_is_free(fields: Mapping[str, Any], person: User | None) -> None:
    """A name or an address must not mean two people, neither as the one nor as the other, in whatever case."""
    others = User.objects.exclude(pk=person.pk if person else None)
    for key in ("username", "email"):
        value = fields.get(key)
        if value and others.filter(Q(username__iexact=value) | Q(email__iexact=value)).exists():
            raise taken(f"Somebody has the name or address {value} already.")
    if fields.get("external_id") and others.filter(external_id=fields["external_id"]).exists():
        raise taken(f"Somebody has the externalId {fields['external_id']} already.")
