"""Whom one writes to at a tenant: one rule for every letter, whatever it tells."""

from collections.abc import Iterable

from .choices import ContactRole
from .models import Contact

#: Which contacts are written to: the first of these groups that a tenant has.
READERS = (
    (ContactRole.TECHNICAL, ContactRole.SECURITY),
    (ContactRole.OWNER,),
    (ContactRole.BILLING,),
)


def readers(contacts: Iterable[Contact]) -> dict[int, list[Contact]]:
    """By tenant, those to write to: technical and security contacts, else owners, else anybody; by address. No query."""
    by_role: dict[int, dict[str, list[Contact]]] = {}
    for contact in sorted(contacts, key=lambda c: c.email):
        by_role.setdefault(contact.tenant_id, {}).setdefault(contact.role, []).append(contact)
    found: dict[int, list[Contact]] = {}
    for tenant_id, roles in by_role.items():
        groups = ([one for role in group for one in roles.get(role, [])] for group in READERS)
        found[tenant_id] = next((group for group in groups if group), [])
    return found
