"""Words of the accounts."""

from django.db import models


class Cloud(models.TextChoices):
    """Whose cloud an account is in."""

    LOCAL = "local", "This machine"
    SIMULATED = "simulated", "Simulated"
    AWS = "aws", "AWS"
    AZURE = "azure", "Azure"
    GCP = "gcp", "Google Cloud"
    OTHER = "other", "Other"


class Owner(models.TextChoices):
    """Whose account it is."""

    PROVIDER = "provider", "Ours"
    CUSTOMER = "customer", "Customer's (BYOC)"
