"""Who had a hand in whose account, and in whose permissions."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from ..choices import HandKind


class Hand(models.Model):
    """One person made, changed or let in another. Plain ids: it must outlive the accounts, or deleting one would hide it.

    Written with what it tells of, in the same transaction; only ever added to.
    """

    AUDIT_EXEMPT: ClassVar[str] = "drawn from changes that are themselves recorded"

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(default=timezone.now)
    by_ref = models.BigIntegerField()
    person_ref = models.BigIntegerField(null=True, blank=True)
    group_ref = models.BigIntegerField(null=True, blank=True)
    role_ref = models.BigIntegerField(null=True, blank=True)
    how = models.CharField(max_length=10, choices=HandKind.choices)
    permissions = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    words = models.CharField(max_length=300)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["person_ref", "-at"], name="hand_person"),
            models.Index(fields=["by_ref", "-at"], name="hand_by"),
        ]

    def __str__(self) -> str:
        return self.words
