"""Keys for programs, and letters to people."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.core.models import BaseModel

from ..choices import Permission
from .granted import User


class ApiToken(BaseModel):
    """A key with which a program acts as its owner, within some of the owner's permissions, until a time.

    Only its SHA-256 is kept: 256 random bits need no salt and no slow hash.
    """

    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=80)
    start = models.CharField(max_length=12, help_text="the first characters, to tell it from others")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    permissions = ArrayField(models.CharField(max_length=40, choices=Permission.choices))
    may_give = ArrayField(
        models.CharField(max_length=40, choices=Permission.choices),
        default=list,
        blank=True,
        help_text="for provisioning: what the groups that it fills may allow",
    )
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    AUDIT_EXCLUDE: ClassVar[tuple[str, ...]] = ("created_at", "updated_at", "digest", "last_used_at")

    class Meta:
        verbose_name = "API token"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.start}…)"


class Notice(models.Model):
    """A letter to be sent: written with what it tells of, sent afterwards, tried again until it is out."""

    AUDIT_EXEMPT = "tells of what is itself recorded"

    id = models.BigAutoField(primary_key=True)
    to = models.EmailField()
    subject = models.CharField(max_length=200)
    body = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)
    due_at = models.DateTimeField(default=timezone.now)
    tries = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["due_at"], name="notice_due", condition=Q(sent_at__isnull=True))]

    def __str__(self) -> str:
        return self.subject
