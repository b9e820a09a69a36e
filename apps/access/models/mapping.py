"""What another directory's words mean here."""

from django.contrib.auth.models import Group
from django.db import models

from apps.core.models import BaseModel


class SsoGroup(BaseModel):
    """Who is in a group at the identity provider is in a group here, from their next sign-in on.

    A group here that is mapped belongs to the provider: at each sign-in people are put in and taken out as it says.
    """

    claim = models.CharField("group at the provider", max_length=200)
    group = models.ForeignKey(Group, on_delete=models.PROTECT, related_name="sso_groups")

    class Meta:
        verbose_name = "mapped group"
        ordering = ["claim"]
        constraints = [models.UniqueConstraint(fields=["claim", "group"], name="ssogroup_once")]

    def __str__(self) -> str:
        return f"{self.claim} → {self.group}"
