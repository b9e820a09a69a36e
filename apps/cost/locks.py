"""One at a time: PostgreSQL's advisory locks, held to the end of the transaction."""

from enum import IntEnum

from django.db import connection


class Lock(IntEnum):
    """What only one may do at a time."""

    #: Writing statements and facts.
    MONEY = 7_205_611
    #: Taking in invoices: lines that are there already are replaced.
    REVENUE = 7_205_612
    #: Writing anomalies anew.
    ANOMALIES = 7_205_613


def hold(lock: Lock) -> None:
    """Wait for a lock; the transaction's end gives it back."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [int(lock)])
