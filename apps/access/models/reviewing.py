"""Access reviews: what everybody held on a day, what they used of it, and what was decided."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from apps.core.models import BaseModel

from ..choices import Decision, Permission
from .granted import Scope, User


class AccessReview(BaseModel):
    """One campaign: all grants of its first day, until it is closed."""

    name = models.CharField(max_length=80, unique=True)
    days = models.PositiveSmallIntegerField(default=90, help_text="how far back use is looked for")
    started_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    closed_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name


class ReviewItem(BaseModel):
    """One grant as it stood when the review began. Its own words: the grant, the role and the group may be gone later."""

    review = models.ForeignKey(AccessReview, on_delete=models.CASCADE, related_name="items")
    grant_ref = models.BigIntegerField()
    person = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    group_ref = models.BigIntegerField(null=True, blank=True)
    holder = models.CharField(max_length=200)
    role = models.CharField(max_length=50)
    permissions = ArrayField(models.CharField(max_length=40, choices=Permission.choices), default=list)
    scope = models.ForeignKey(Scope, on_delete=models.PROTECT, related_name="+")
    until = models.DateTimeField(null=True, blank=True)
    given_at = models.DateTimeField()
    given = models.CharField("why it was given, and by whom", max_length=700)
    uses = models.PositiveIntegerField(default=0)
    last_used_at = models.DateTimeField(null=True, blank=True)
    proposal = models.CharField(max_length=6, choices=Decision.choices)
    why = models.CharField("why it is proposed", max_length=200)
    decision = models.CharField(max_length=6, choices=Decision.choices, blank=True)
    note = models.CharField(max_length=500, blank=True)
    decided_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["review", "grant_ref"], name="reviewitem_once"),
            models.CheckConstraint(
                condition=Q(decided_by__isnull=True) | Q(person__isnull=True) | ~Q(decided_by=F("person")),
                name="reviewitem_decided_by_another",
            ),
            models.CheckConstraint(
                condition=Q(decision="") | Q(decided_by__isnull=False, decided_at__isnull=False),
                name="reviewitem_decided_by_somebody",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} on {self.scope} of {self.holder}"
