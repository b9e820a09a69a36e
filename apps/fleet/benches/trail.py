"""The trail: a million entries sealed, verified, and listed."""

import time
from collections.abc import Iterator
from functools import partial

from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client

from apps.audit import checking, sealing
from apps.audit.models import AuditEntry

from ..models import Instance
from .engine import boss
from .figures import Figure, median_ms

COUNT = 1_000_000

FILL = """INSERT INTO audit_auditentry (content_type_id, object_pk, object_id, object_repr, action, changes_text, changes,
                                        actor_id, timestamp, reason, via, cid, remote_addr, event)
          SELECT %s, n::text, n, 'instance ' || n, 1, '',
                 jsonb_build_object('wanted_version', jsonb_build_array('1.0.0', '1.0.' || n %% 50),
                                    'wanted', jsonb_build_array('stopped', 'running')),
                 %s, now() - n * interval '1 second', 'asked for in ticket ' || n %% 5000, 'page', md5(n::text), '10.0.0.7',
                 CASE WHEN n %% 20 = 0 THEN 'read' ELSE 'change' END
          FROM generate_series(1, %s) n"""


def trail() -> Iterator[Figure]:
    """Seal and verify a million entries; the audit page over them."""
    user = boss()
    content_type = ContentType.objects.get_for_model(Instance)
    with connection.cursor() as cursor:
        cursor.execute(FILL, [content_type.pk, user.pk, max(0, COUNT - AuditEntry.objects.count())])
        cursor.execute("ANALYZE audit_auditentry")
    began = time.perf_counter()
    sealed = sum(seal.count for seal in sealing.seal())
    yield Figure("entries sealed", sealed / (time.perf_counter() - began), "a second")
    began = time.perf_counter()
    verdict, _ = checking.check()
    took = time.perf_counter() - began
    if not verdict.holds or verdict.entries < COUNT:
        raise RuntimeError(f"the trail does not hold: {verdict}")
    yield Figure(f"verification of {verdict.entries:,} entries", took, "s", at_most=60)
    client = Client(HTTP_HOST="localhost")
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    for name, query in (("all", {}), ("one kind", {"event": "read"}), ("a reason", {"q": "ticket 4711"})):
        took = median_ms(partial(client.get, "/audit/", query), times=5)
        yield Figure(f"audit page over a million entries, {name}", took, "ms", at_most=300)
