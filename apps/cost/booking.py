"""Entries that people keep in the books: prices, discounts, commitments, rates, budgets; where sub-accounts belong."""

from typing import Any

from django.db import models, transaction

from apps.access.models import User
from apps.accounts.models import Account
from apps.core.context import acting
from apps.core.events import event, record
from apps.tenants.models import Tenant

from . import keeping
from .models import SubAccount


def add_entry(row: models.Model, *, actor: User) -> None:
    """Add an entry. Raises ValidationError, as for one that is there already."""
    with transaction.atomic(), acting(actor, reason="books kept"):
        row.full_clean()
        row.save()
        context: Any = getattr(row, "event_context", dict)()
        record([event("books.entry_added", f"Added to the books: {row}", **context)])
        transaction.on_commit(keeping.nudge)


def remove_entry(row: models.Model, *, actor: User) -> None:
    """Take an entry out of the books; what it made of past months is reckoned without it from now on."""
    with transaction.atomic(), acting(actor, reason="books kept"):
        context: Any = getattr(row, "event_context", dict)()
        title = f"Taken out of the books: {row}"
        row.delete()
        record([event("books.entry_removed", title, **context)])
        transaction.on_commit(keeping.nudge)


def place_sub_account(
    sub: SubAccount, *, account: Account | None, tenant: Tenant | None, actor: User
) -> None:
    """Say whose a sub-account is. Statements that name it are allocated again (`rulebook.stale` finds them)."""
    with transaction.atomic(), acting(actor, reason="sub-account placed"):
        row = SubAccount.objects.select_for_update().get(pk=sub.pk)
        if (row.account_id, row.tenant_id) == (account and account.pk, tenant and tenant.pk):
            return
        row.account, row.tenant = account, tenant
        row.save()
        context: dict[str, Any] = dict(row.event_context())
        where = f"to {account}" if account else "to no account"
        whose = f", tenant {tenant}" if tenant else ""
        record([event("subaccount.placed", f"Sub-account {row} belongs {where}{whose}", **context)])
        transaction.on_commit(_nudge)


def _nudge() -> None:
    # Late: an actor can be made only once the broker is there.
    from . import actors

    actors.allocate_stale.send()
