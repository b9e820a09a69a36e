"""Sessions in the database, as Django keeps them; what each request reads first is compiled once."""

from typing import Any

from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.utils import timezone

from apps.core.compiled import compiled


@compiled
def _session(*, key: Any, now: Any) -> QuerySet[Session]:
    return Session.objects.filter(session_key=key, expire_date__gt=now)


class SessionStore(DatabaseStore):
    """See the module."""

    def _get_session_from_db(self) -> Session | None:
        for session in _session(key=self.session_key, now=timezone.now()):
            return session
        self._session_key = None  # as Django does, so that a key that is none is not taken up
        return None
