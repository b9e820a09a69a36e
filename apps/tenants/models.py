"""Tenants: who they are, what they bought, and by which names they can be found."""

from typing import ClassVar

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Lower, Upper

from apps.core.models import BaseModel

from .choices import ContactRole, TenantState

key_validator = RegexValidator(
    r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "Use lower-case letters, digits and hyphens, at most 63."
)
currency_validator = RegexValidator(
    r"^[A-Z]{3}$", "A currency is three capital letters (ISO 4217), such as EUR."
)


def trigrams(field: str, name: str) -> GinIndex:
    """The index by which a text is found with a typing error in it; `UPPER` serves Django's icontains.

    Without a pending list: until a vacuum that list is read whole at each search.
    """
    return GinIndex(OpClass(Upper(field), name="gin_trgm_ops"), name=name, fastupdate=False)


def begins(field: str, name: str) -> models.Index:
    """The index by which texts that begin with what was typed come in order, whatever the collation."""
    return models.Index(OpClass(Upper(field), name="text_pattern_ops"), name=name)


class Plan(BaseModel):
    """What can be bought."""

    name = models.CharField(max_length=60, unique=True)
    rank = models.PositiveSmallIntegerField(default=0, help_text="order, cheapest first")
    monthly_price = models.DecimalField(
        max_digits=14, decimal_places=2, default=0, validators=[MinValueValidator(0)]
    )
    currency = models.CharField(max_length=3, default="EUR", validators=[currency_validator])
    is_dedicated = models.BooleanField(
        default=False, help_text="tenants of this plan get an instance of their own"
    )

    class Meta:
        ordering = ["rank", "name"]

    def __str__(self) -> str:
        return self.name


class Tenant(BaseModel):
    """A customer."""

    key = models.CharField(
        max_length=63, unique=True, validators=[key_validator], help_text="the id that systems use"
    )
    name = models.CharField(max_length=120)
    state = models.CharField(max_length=10, choices=TenantState.choices, default=TenantState.ACTIVE)
    zone = models.CharField(max_length=64, default="UTC", help_text="IANA time zone the tenant works in")
    notes = models.TextField(blank=True)

    class Meta:
        ordering = ["name"]
        indexes = [
            trigrams("name", "tenant_name_trgm"),
            trigrams("key", "tenant_key_trgm"),
            begins("name", "tenant_name_begins"),
            models.Index(fields=["name", "id"], name="tenant_by_name"),
            models.Index(fields=["created_at", "id"], name="tenant_by_created"),
            models.Index(fields=["state", "name"], name="tenant_by_state"),
        ]

    def __str__(self) -> str:
        return self.name

    def event_context(self) -> dict[str, int | None]:
        return {"tenant_id": self.pk}


class Subscription(BaseModel):
    """What a tenant bought, from when until when; at most one is open at a time."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="subscriptions")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="subscriptions")
    seats = models.PositiveIntegerField(default=1)
    monthly_price = models.DecimalField(
        max_digits=14, decimal_places=2, default=0, validators=[MinValueValidator(0)]
    )
    currency = models.CharField(max_length=3, default="EUR", validators=[currency_validator])
    starts_on = models.DateField()
    ends_on = models.DateField(null=True, blank=True)

    class Meta:
        ordering = ["-starts_on"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant"], condition=models.Q(ends_on__isnull=True), name="subscription_one_open"
            ),
            models.CheckConstraint(
                condition=models.Q(ends_on__isnull=True) | models.Q(ends_on__gte=models.F("starts_on")),
                name="subscription_ends_after_start",
            ),
        ]

    def __str__(self) -> str:
        return f"subscription of tenant {self.tenant_id} from {self.starts_on}"

    def event_context(self) -> dict[str, int | None]:
        return {"tenant_id": self.tenant_id}


class TenantPart(BaseModel):
    """Something by which a tenant is reached or found."""

    WORD: ClassVar[str] = ""

    class Meta:
        abstract = True

    def event_context(self) -> dict[str, int | None]:
        return {"tenant_id": self.tenant_id}  # type: ignore[attr-defined]


class Contact(TenantPart):
    """A person at the tenant."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="contacts")
    name = models.CharField(max_length=120)
    email = models.EmailField()
    role = models.CharField(max_length=10, choices=ContactRole.choices, default=ContactRole.OWNER)

    class Meta:
        ordering = ["role", "name"]
        indexes = [
            trigrams("email", "contact_email_trgm"),
            trigrams("name", "contact_name_trgm"),
            begins("email", "contact_email_begins"),
            begins("name", "contact_name_begins"),
        ]
        constraints = [
            models.UniqueConstraint("tenant", Lower("email"), name="contact_email_once_per_tenant")
        ]

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>"


class Domain(TenantPart):
    """A host name that leads to the tenant."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="domains")
    name = models.CharField(max_length=253)
    is_primary = models.BooleanField(default=False)

    class Meta:
        ordering = ["-is_primary", "name"]
        indexes = [trigrams("name", "domain_name_trgm"), begins("name", "domain_name_begins")]
        constraints = [
            models.UniqueConstraint(Lower("name"), name="domain_once"),
            models.UniqueConstraint(
                fields=["tenant"], condition=models.Q(is_primary=True), name="domain_one_primary"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ExternalId(TenantPart):
    """The tenant's id in another system: CRM, billing, ticketing."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="external_ids")
    system = models.CharField(max_length=40, help_text="stripe, salesforce, zendesk")
    value = models.CharField(max_length=120)

    class Meta:
        ordering = ["system"]
        indexes = [trigrams("value", "externalid_value_trgm"), begins("value", "externalid_value_begins")]
        constraints = [models.UniqueConstraint(fields=["system", "value"], name="externalid_once_per_system")]

    def __str__(self) -> str:
        return f"{self.system} {self.value}"
