"""Words of the fleet."""

from django.db import models


class InstanceKind(models.TextChoices):
    DEDICATED = "dedicated", "Dedicated"
    SHARED = "shared", "Shared"


class Health(models.TextChoices):
    """What the last look at an instance said. `changing` is no health: a running operation says it."""

    WELL = "well", "Well"
    DEGRADED = "degraded", "Degraded"
    FAILING = "failing", "Failing"
    STARTING = "starting", "Starting"
    STOPPED = "stopped", "Stopped"
    UNKNOWN = "unknown", "Unknown"


#: Health that somebody has to look at.
WRONG = (Health.FAILING, Health.DEGRADED, Health.UNKNOWN)


class Wanted(models.TextChoices):
    RUNNING = "running", "Running"
    STOPPED = "stopped", "Stopped"


class ProviderName(models.TextChoices):
    LOCAL = "local", "Local processes"
    SIMULATED = "simulated", "Simulated"


class Fault(models.TextChoices):
    """Faults that a simulated instance can be ordered to have."""

    NONE = "none", "None"
    SLOW = "slow", "Slow to start"
    FLAKY = "flaky", "Flaky calls"
    HANG = "hang", "Never becomes ready"
    UNHEALTHY = "unhealthy", "Unhealthy"


class IssuerKind(models.TextChoices):
    """Who issues certificates."""

    INTERNAL = "internal", "Internal authority"
    ACME = "acme", "ACME directory"


class OrderState(models.TextChoices):
    """How far an order at an ACME directory is."""

    NEW = "new", "Not sent yet"
    PENDING = "pending", "Proving names"
    PROCESSING = "processing", "Being issued"
    ISSUED = "issued", "Issued"
    FAILED = "failed", "Failed"


#: The only ways from state to state.
ORDER_TRANSITIONS: dict[str, frozenset[str]] = {
    OrderState.NEW: frozenset({OrderState.PENDING, OrderState.FAILED}),
    OrderState.PENDING: frozenset({OrderState.PROCESSING, OrderState.FAILED}),
    OrderState.PROCESSING: frozenset({OrderState.ISSUED, OrderState.FAILED}),
    OrderState.ISSUED: frozenset(),
    OrderState.FAILED: frozenset(),
}
