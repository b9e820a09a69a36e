"""The permissions there are, the scopes they are given on, and the roles a new portal starts with."""

from django.db import models


class Permission(models.TextChoices):
    """What can be allowed. The value is the codename of the guardian permission on a scope."""

    VIEW = "view", "See"
    READ_LOGS = "read_logs", "Read logs"
    EXPORT = "export", "Export lists"
    DIAGNOSE = "diagnose", "Collect diagnostics"
    RESTART = "restart", "Start, stop, restart"
    DEPLOY = "deploy", "Deploy a version"
    APPROVE = "approve", "Approve others' operations"
    FIX_DATA = "fix_data", "Fix data in the admin"
    SEE_AUDIT = "see_audit", "Read the audit trail"
    MANAGE_ACCESS = "manage_access", "Give and take access"
    SEE_COST = "see_cost", "See cost and revenue"
    KEEP_BOOKS = "keep_books", "Import bills, change allocation rules"


#: Permissions that change something for every tenant of an instance: on a shared instance a tenant's
#: scope alone does not carry them.
CHANGING = frozenset(
    {Permission.DIAGNOSE, Permission.RESTART, Permission.DEPLOY, Permission.APPROVE, Permission.FIX_DATA}
)
#: Permissions that show what belongs to all tenants of an instance.
WHOLE_INSTANCE = CHANGING | {Permission.READ_LOGS}


class ScopeKind(models.TextChoices):
    """What a permission is given on."""

    EVERYTHING = "everything", "Everything"
    ACCOUNT = "account", "Account"
    CELL = "cell", "Cell"
    TENANT = "tenant", "Tenant"


class UserKind(models.TextChoices):
    PERSON = "person", "Person"
    SYSTEM = "system", "System"


_LOOK = [Permission.VIEW, Permission.EXPORT]
_OPERATE = [*_LOOK, Permission.READ_LOGS, Permission.DIAGNOSE, Permission.RESTART, Permission.DEPLOY]

SEEDED_ROLES: dict[str, tuple[str, list[Permission]]] = {
    "viewer": ("Sees; touches nothing.", [Permission.VIEW]),
    "support": ("Looks a tenant up, reads its logs; changes nothing.", [*_LOOK, Permission.READ_LOGS]),
    "operator": ("Runs the fleet: start, stop, restart, deploy, diagnose.", _OPERATE),
    "finance": (
        "Sees what tenants cost and earn, imports bills; changes nothing in the fleet.",
        [*_LOOK, Permission.SEE_COST, Permission.KEEP_BOOKS],
    ),
    "admin": ("Everything, data fixes and access too.", list(Permission)),
}
