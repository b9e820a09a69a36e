"""Who may: people and what they hold; what they ask for, for a while; by what else than a browser they come."""

from .asking import AccessRequest, BreakGlass, PreApproval
from .granted import Grant, RecordedUserManager, Role, Scope, ScopeGroupPermission, ScopeUserPermission, User
from .hands import Hand
from .mapping import ScimGroup, SsoGroup
from .reviewing import AccessReview, ReviewItem
from .signing import ApiToken, Notice

__all__ = [
    "AccessRequest",
    "AccessReview",
    "ApiToken",
    "BreakGlass",
    "Grant",
    "Hand",
    "Notice",
    "PreApproval",
    "RecordedUserManager",
    "ReviewItem",
    "Role",
    "ScimGroup",
    "Scope",
    "ScopeGroupPermission",
    "ScopeUserPermission",
    "SsoGroup",
    "User",
]
