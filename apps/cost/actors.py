"""The money's actors: each message is a hint, the bill's row and the statements' runs are the truth."""

import dramatiq

from . import fetching, forgetting, importing, instances, invoices, keeping, rulebook, usage, watching


@dramatiq.actor(max_retries=0, time_limit=3_600_000, queue_name="bills")
def read_bill(bill_id: int) -> None:
    """Read one bill that waits."""
    importing.read_bill(bill_id)


@dramatiq.actor(max_retries=0, time_limit=3_600_000, max_age=60_000, queue_name="bills")
def read_open_bills() -> None:
    """Read what waits, and what a killed worker left."""
    importing.read_open_bills()


@dramatiq.actor(max_retries=0, time_limit=3_600_000, max_age=600_000, queue_name="bills")
def fetch_bills() -> None:
    """Look at object storage for bills that are new or changed."""
    fetching.fetch_all()


@dramatiq.actor(max_retries=0, time_limit=3_600_000, max_age=60_000, queue_name="bills")
def allocate_stale() -> None:
    """Allocate again what counts by former rules."""
    rulebook.allocate_stale()


@dramatiq.actor(max_retries=0, max_age=600_000, queue_name="bills")
def count_usage() -> None:
    """Count what tenants used today and yesterday."""
    usage.count_usage()


@dramatiq.actor(max_retries=0, time_limit=3_600_000, max_age=600_000, queue_name="bills")
def forget_old_facts() -> None:
    """Drop daily facts that nobody compares any more."""
    forgetting.forget_old_facts()


@dramatiq.actor(max_retries=0, time_limit=3_600_000, max_age=600_000, queue_name="bills")
def count_instances() -> None:
    """Add up what bill lines say of single instances."""
    instances.count_instances()


@dramatiq.actor(max_retries=0, max_age=600_000, queue_name="bills")
def forget_instance_days() -> None:
    """Drop days of instances that no page looks at any more."""
    instances.forget_days()


@dramatiq.actor(max_retries=0, max_age=600_000, queue_name="bills")
def place_revenue() -> None:
    """Give revenue to tenants whose external id has come since."""
    invoices.place_revenue()


@dramatiq.actor(max_retries=0, time_limit=1_800_000, max_age=600_000, queue_name="bills")
def look_after_costs() -> None:
    """Look for days out of the ordinary, and at budgets."""
    watching.look()


@dramatiq.actor(max_retries=0, time_limit=1_800_000, max_age=60_000, queue_name="bills")
def keep_expected() -> None:
    """Reckon expected revenue anew for months whose prices, subscriptions or usage changed."""
    keeping.keep_all()
