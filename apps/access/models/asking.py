"""Access for a while: asked for and decided by somebody else, or taken in an emergency and explained afterwards."""

from datetime import timedelta

from django.contrib.auth.models import Group
from django.db import models
from django.db.models import F, Q

from apps.core.models import BaseModel

from ..choices import RequestState, Verdict
from .granted import Role, Scope, User


class PreApproval(BaseModel):
    """Whoever is in a group gets a role on a scope for a while as soon as they ask: for those on call."""

    group = models.ForeignKey(Group, on_delete=models.PROTECT, related_name="pre_approvals")
    role = models.ForeignKey(Role, on_delete=models.PROTECT, related_name="+")
    scope = models.ForeignKey(Scope, on_delete=models.PROTECT, related_name="+")
    max_minutes = models.PositiveIntegerField(help_text="the longest that is given without asking somebody")
    given_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=500)

    class Meta:
        ordering = ["group__name", "role__name"]
        constraints = [
            models.UniqueConstraint(fields=["group", "role", "scope"], name="preapproval_once"),
            models.CheckConstraint(condition=Q(max_minutes__gt=0), name="preapproval_lasts"),
        ]

    def __str__(self) -> str:
        return f"{self.role} on {self.scope} for {self.group}"


class AccessRequest(BaseModel):
    """A role on a scope for some minutes, asked for by one person and decided by another.

    `grant_ref` names the grant it became; the grant goes when it ends, the request stays and tells.
    """

    person = models.ForeignKey(User, on_delete=models.PROTECT, related_name="access_requests")
    role = models.ForeignKey(Role, on_delete=models.PROTECT, related_name="+")
    scope = models.ForeignKey(Scope, on_delete=models.PROTECT, related_name="+")
    minutes = models.PositiveIntegerField()
    reason = models.CharField(max_length=500)
    ticket = models.URLField(blank=True, help_text="link to the ticket, if there is one")
    extends = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="extensions"
    )
    state = models.CharField(max_length=10, choices=RequestState.choices, default=RequestState.WAITING)
    decided_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    decision = models.CharField(max_length=500, blank=True, help_text="what the decider said")
    pre_approval = models.CharField(max_length=300, blank=True, help_text="the standing yes it was given by")
    until = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    grant_ref = models.BigIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(decided_by__isnull=True) | ~Q(decided_by=F("person")),
                name="accessrequest_decided_by_another",
            ),
            models.CheckConstraint(condition=Q(minutes__gt=0), name="accessrequest_lasts"),
            models.CheckConstraint(
                condition=~Q(state=RequestState.GRANTED) | Q(until__isnull=False, grant_ref__isnull=False),
                name="accessrequest_granted_has_its_end",
            ),
            models.UniqueConstraint(
                fields=["person", "role", "scope"],
                condition=Q(state=RequestState.WAITING),
                name="accessrequest_waits_once",
            ),
        ]
        indexes = [
            models.Index(fields=["state", "-id"], name="accessrequest_state"),
            models.Index(fields=["person", "-id"], name="accessrequest_person"),
            models.Index(
                fields=["grant_ref"], name="accessrequest_grant", condition=Q(grant_ref__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} on {self.scope} for {self.person}"


class BreakGlass(BaseModel):
    """A grant that somebody took by themselves, for an hour at most; explained and reviewed afterwards."""

    person = models.ForeignKey(User, on_delete=models.PROTECT, related_name="broken_glass")
    role = models.ForeignKey(Role, on_delete=models.PROTECT, related_name="+")
    scope = models.ForeignKey(Scope, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=500)
    started_at = models.DateTimeField()
    until = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    grant_ref = models.BigIntegerField(unique=True)
    explanation = models.TextField(blank=True, max_length=4_000)
    explained_at = models.DateTimeField(null=True, blank=True)
    reviewed_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    reviewed_at = models.DateTimeField(null=True, blank=True)
    verdict = models.CharField(max_length=10, choices=Verdict.choices, blank=True)
    review = models.TextField(blank=True, max_length=4_000)

    class Meta:
        verbose_name = "broken glass"
        verbose_name_plural = "broken glass"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(reviewed_by__isnull=True) | ~Q(reviewed_by=F("person")),
                name="breakglass_reviewed_by_another",
            ),
            models.CheckConstraint(
                condition=Q(until__lte=F("started_at") + timedelta(minutes=60)),
                name="breakglass_an_hour_at_most",
            ),
        ]
        indexes = [
            models.Index(
                fields=["person", "until"], name="breakglass_open", condition=Q(ended_at__isnull=True)
            ),
            models.Index(fields=["id"], name="breakglass_unreviewed", condition=Q(reviewed_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.role} on {self.scope} taken by {self.person}"
