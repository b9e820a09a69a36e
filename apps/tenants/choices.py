"""Words of the tenants."""

from django.db import models


class TenantState(models.TextChoices):
    TRIAL = "trial", "Trial"
    ACTIVE = "active", "Active"
    SUSPENDED = "suspended", "Suspended"
    LEFT = "left", "Left"


class ContactRole(models.TextChoices):
    OWNER = "owner", "Owner"
    TECHNICAL = "technical", "Technical"
    BILLING = "billing", "Billing"
    SECURITY = "security", "Security"
