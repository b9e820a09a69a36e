"""What another directory's words mean here."""

from django.contrib.auth.models import Group
from django.db import models

from apps.core.models import BaseModel

from .granted import User


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


class ScimGroup(BaseModel):
    """A group as the company's directory keeps it here by SCIM, whether or not it means anything.

    It means the groups that `SsoGroup` maps its name or its external id to; who is in it is in those.
    """

    display_name = models.CharField("name", max_length=200, unique=True)
    external_id = models.CharField(max_length=254, blank=True, default="")
    members = models.ManyToManyField(User, related_name="scim_groups", blank=True)

    class Meta:
        verbose_name = "directory group"
        ordering = ["display_name"]
        constraints = [
            models.UniqueConstraint(
                fields=["external_id"],
                condition=~models.Q(external_id=""),
                name="scimgroup_external_id_once",
            )
        ]

    def __str__(self) -> str:
        return self.display_name
