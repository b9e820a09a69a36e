"""Somebody always manages access: the last one who does so on everything, for good, cannot be taken.

Who has shut everybody out needs the database's own superuser to come in again; so no change of a role,
a grant, a group or an account may end there.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction
from django.db.models import Q

from .choices import Permission, ScopeKind, UserKind
from .models import Scope, User

MESSAGE = (
    "Then nobody could give access on everything any more. First give somebody else a role with "
    f"“{Permission.MANAGE_ACCESS.label}” on everything, without an end."
)


class LastManager(ValueError):
    """The change would leave nobody who manages access on everything; nothing was changed."""

    def __init__(self) -> None:
        super().__init__(MESSAGE)


def managers() -> set[int]:
    """Ids of the active people who manage access on everything without an end, or are superusers."""
    lasting = {
        "scope__kind": ScopeKind.EVERYTHING,
        "until__isnull": True,
        "role__permissions__contains": [Permission.MANAGE_ACCESS],
    }
    own = Q(**{f"grants__{key}": value for key, value in lasting.items()})
    groups = Q(**{f"groups__grants__{key}": value for key, value in lasting.items()})
    rows = User.objects.filter(is_active=True, kind=UserKind.PERSON)
    return set(rows.filter(Q(is_superuser=True) | own | groups).values_list("pk", flat=True).distinct())


@contextmanager
def somebody_remains() -> Iterator[None]:
    """Undo what is done inside, and raise LastManager, if it leaves nobody.

    Two such changes at once wait for each other, so that not each of them counts on the other's manager.
    """
    with transaction.atomic():
        list(Scope.objects.select_for_update().filter(kind=ScopeKind.EVERYTHING))
        before = managers()
        yield
        if before and not managers():
            raise LastManager
