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
    ROLL_OUT = "roll_out", "Prepare and steer rollouts"
    MANAGE_RELEASES = "manage_releases", "Manage releases, advisories and their rules"
    ACKNOWLEDGE = "acknowledge", "Acknowledge and resolve incidents"
    MANAGE_ALERTS = "manage_alerts", "Manage silences, on-call and recovery"
    APPROVE = "approve", "Approve others' operations"
    FIX_DATA = "fix_data", "Fix data in the admin"
    SEE_AUDIT = "see_audit", "Read the audit trail"
    MANAGE_ACCESS = "manage_access", "Give and take access"
    BREAK_GLASS = "break_glass", "Break glass in an emergency"
    SEE_COST = "see_cost", "See cost and revenue"
    KEEP_BOOKS = "keep_books", "Import bills, change allocation rules"
    PROVISION = "provision", "Provision people and groups (SCIM)"


#: Permissions that change something for every tenant of an instance: on a shared instance a tenant's
#: scope alone does not carry them.
CHANGING = frozenset(
    {
        Permission.DIAGNOSE,
        Permission.RESTART,
        Permission.DEPLOY,
        Permission.ROLL_OUT,
        Permission.APPROVE,
        Permission.FIX_DATA,
        Permission.ACKNOWLEDGE,
        Permission.MANAGE_ALERTS,
    }
)
#: Permissions that show what belongs to all tenants of an instance.
WHOLE_INSTANCE = CHANGING | {Permission.READ_LOGS}
#: Permissions with which something is changed, the fleet or who may: they take a second factor.
SECOND_FACTOR = CHANGING | {
    Permission.MANAGE_ACCESS,
    Permission.BREAK_GLASS,
    Permission.MANAGE_RELEASES,
    Permission.KEEP_BOOKS,
    Permission.PROVISION,
}


#: What breaking glass never carries: who is in for an hour lets nobody else in, and lets nothing through.
NOT_IN_EMERGENCY = frozenset(
    {Permission.MANAGE_ACCESS, Permission.BREAK_GLASS, Permission.APPROVE, Permission.PROVISION}
)
#: What a directory's client never gives: with it, whoever holds the client's token could let themselves in.
NEVER_PROVISIONED = frozenset({Permission.MANAGE_ACCESS, Permission.PROVISION})


class ScopeKind(models.TextChoices):
    """What a permission is given on."""

    EVERYTHING = "everything", "Everything"
    ACCOUNT = "account", "Account"
    CELL = "cell", "Cell"
    TENANT = "tenant", "Tenant"


class UserKind(models.TextChoices):
    PERSON = "person", "Person"
    SYSTEM = "system", "System"


class RequestState(models.TextChoices):
    """Where a request for access stands."""

    WAITING = "waiting", "Waiting"
    GRANTED = "granted", "Granted"
    REFUSED = "refused", "Refused"
    WITHDRAWN = "withdrawn", "Withdrawn"
    RETURNED = "returned", "Given back"
    TAKEN = "taken", "Taken back"
    ENDED = "ended", "Ended"


#: The only ways from state to state.
REQUEST_TRANSITIONS: dict[str, frozenset[str]] = {
    RequestState.WAITING: frozenset({RequestState.GRANTED, RequestState.REFUSED, RequestState.WITHDRAWN}),
    RequestState.GRANTED: frozenset({RequestState.RETURNED, RequestState.TAKEN, RequestState.ENDED}),
    RequestState.REFUSED: frozenset(),
    RequestState.WITHDRAWN: frozenset(),
    RequestState.RETURNED: frozenset(),
    RequestState.TAKEN: frozenset(),
    RequestState.ENDED: frozenset(),
}


class Verdict(models.TextChoices):
    """What a reviewer says of glass that was broken."""

    RIGHT = "right", "It was right"
    AVOIDABLE = "avoidable", "It could have been avoided"
    MISUSE = "misuse", "It was misuse"


_LOOK = [Permission.VIEW, Permission.EXPORT]
_OPERATE = [
    *_LOOK,
    Permission.READ_LOGS,
    Permission.DIAGNOSE,
    Permission.RESTART,
    Permission.DEPLOY,
    Permission.ROLL_OUT,
    Permission.MANAGE_RELEASES,
    Permission.ACKNOWLEDGE,
    Permission.MANAGE_ALERTS,
]

SEEDED_ROLES: dict[str, tuple[str, list[Permission]]] = {
    "viewer": ("Sees; touches nothing.", [Permission.VIEW]),
    "support": ("Looks a tenant up, reads its logs; changes nothing.", [*_LOOK, Permission.READ_LOGS]),
    "operator": ("Runs the fleet: start, stop, restart, deploy, diagnose, releases and rollouts.", _OPERATE),
    "on-call": (
        "Looks, and may break glass in an emergency.",
        [*_LOOK, Permission.READ_LOGS, Permission.BREAK_GLASS],
    ),
    "finance": (
        "Sees what tenants cost and earn, imports bills; changes nothing in the fleet.",
        [*_LOOK, Permission.SEE_COST, Permission.KEEP_BOOKS],
    ),
    "admin": ("Everything, data fixes and access too.", list(Permission)),
}


class Decision(models.TextChoices):
    """What a review does with a grant."""

    KEEP = "keep", "Keep"
    REMOVE = "remove", "Remove"


class HandKind(models.TextChoices):
    """What somebody did that makes another's approval no second person's."""

    MADE = "made", "Made the account"
    IDENTITY = "identity", "Changed by what it signs in, or what it is"
    FACTOR = "factor", "Took a second factor or an address away"
    BACK = "back", "Switched it on again"
    JOINED = "joined", "Put into a group"
    MAPPED = "mapped", "Let a group at the provider mean one here"
    ROLE = "role", "Added to a role"
