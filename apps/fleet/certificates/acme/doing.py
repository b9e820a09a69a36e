"""As whom orders are moved: whoever acts now, else the system actor `certificates`."""

from contextlib import AbstractContextManager

from apps.access.services import system_actor
from apps.core.context import Acting, acting, current


def doing(reason: str, *, operation_id: int | None = None) -> AbstractContextManager[Acting]:
    """Act inside the block, for an operation where one is named."""
    act = current()
    who = act.actor if act is not None else system_actor("certificates")
    return acting(who, reason=reason[:500], operation_id=operation_id)
