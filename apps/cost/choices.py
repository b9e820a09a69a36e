"""Words of the money's road: states of a bill and of a rule set, ways to give a line to tenants."""

from django.db import models


class BillState(models.TextChoices):
    """`received → reading → imported | refused | failed`; a refused or failed one may come again."""

    RECEIVED = "received", "Waiting"
    READING = "reading", "Being read"
    IMPORTED = "imported", "Imported"
    REFUSED = "refused", "Refused"
    FAILED = "failed", "Failed"


#: From which state a bill may go where; reading goes on as reading when its worker died.
BILL_MOVES: dict[str, frozenset[str]] = {
    BillState.RECEIVED: frozenset({BillState.READING}),
    BillState.READING: frozenset(
        {BillState.READING, BillState.IMPORTED, BillState.REFUSED, BillState.FAILED}
    ),
    BillState.FAILED: frozenset({BillState.RECEIVED}),
    BillState.IMPORTED: frozenset(),
    BillState.REFUSED: frozenset({BillState.RECEIVED}),
}
#: A bill that was begun so often and never ended stays failed until somebody asks again.
MOST_TRIES = 3


class SetState(models.TextChoices):
    """`draft → active → retired`; one is active, at most one is a draft."""

    DRAFT = "draft", "Draft"
    ACTIVE = "active", "Active"
    RETIRED = "retired", "Retired"


class RuleKind(models.TextChoices):
    """How a rule finds the tenants of a line."""

    TAG = "tag", "Tag names the tenant"
    SUB_ACCOUNT = "sub_account", "Sub-account belongs to a tenant"
    RESOURCE = "resource", "Resource is a tenant's instance"
    FIXED = "fixed", "All to one tenant"
    EVENLY = "evenly", "Shared evenly"
    SHARES = "shares", "Shared by fixed shares"
    USAGE = "usage", "Shared by usage"
    OVERHEAD = "overhead", "Platform overhead"


#: Rules that pool lines by day, sub-account and service, and share each pool out.
SHARING = frozenset({RuleKind.EVENLY, RuleKind.SHARES, RuleKind.USAGE})


class Driver(models.TextChoices):
    """What usage is counted in."""

    REQUESTS = "requests", "Requests"
    CPU = "cpu", "CPU seconds"
    STORAGE = "storage", "Storage (GB)"
    SEATS = "seats", "Seats"
    TRAFFIC = "traffic", "Traffic (GB)"


#: What is held rather than used up: a month's quantity is the mean of its days, of the others their sum.
HELD = frozenset({Driver.STORAGE, Driver.SEATS})


class RevenueSource(models.TextChoices):
    """Where imported revenue came from; the system whose ids name the customers is the same word."""

    CSV = "csv", "CSV by tenant key"
    STRIPE = "stripe", "Stripe"


class BudgetState(models.TextChoices):
    """`within → likely → over`, and back at the next month or by another budget."""

    WITHIN = "within", "Within"
    LIKELY = "likely", "Likely over by month end"
    OVER = "over", "Over"


class Input(models.TextChoices):
    """What expected revenue is reckoned from."""

    SUBSCRIPTIONS = "subscription", "Subscriptions"
    PRICES = "price", "Metered prices"
    DISCOUNTS = "discount", "Discounts"
    COMMITMENTS = "commitment", "Commitments"
    USAGE = "monthlyusage", "Usage by month"
    RATES = "rate", "Currency rates"
