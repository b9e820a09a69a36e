"""Cloud accounts, ours and our customers', and the regions in them."""

from django.core.validators import RegexValidator
from django.db import models

from apps.core.models import BaseModel

from .choices import Cloud, Owner

name_validator = RegexValidator(
    r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
    "Use lower-case letters, digits and hyphens, at most 63, as in a host name.",
)


class Account(BaseModel):
    """A cloud account, subscription or project: what a bill is written for and a breach stops at."""

    name = models.CharField(max_length=63, unique=True, validators=[name_validator])
    cloud = models.CharField(max_length=12, choices=Cloud.choices)
    owner = models.CharField(max_length=10, choices=Owner.choices, default=Owner.PROVIDER)
    external_id = models.CharField(max_length=120, blank=True, help_text="the cloud's own id of the account")
    contact = models.EmailField(blank=True, help_text="who answers for it")
    notes = models.TextField(blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["cloud", "external_id"],
                name="account_external_id_once",
                condition=~models.Q(external_id=""),
            )
        ]

    def __str__(self) -> str:
        return self.name

    def event_context(self) -> dict[str, int | None]:
        return {"account_id": self.pk}


class Region(BaseModel):
    """A cloud region as used by one account."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="regions")
    code = models.CharField(max_length=40, help_text="the cloud's own name: eu-west-1")
    name = models.CharField(max_length=80, blank=True)
    jurisdiction = models.CharField(max_length=40, blank=True, help_text="whose law: EU, US, IN")

    class Meta:
        ordering = ["account__name", "code"]
        constraints = [models.UniqueConstraint(fields=["account", "code"], name="region_once_per_account")]

    def __str__(self) -> str:
        return f"{self.code} ({self.account.name})" if "account" in self._state.fields_cache else self.code

    def event_context(self) -> dict[str, int | None]:
        return {"account_id": self.account_id}
