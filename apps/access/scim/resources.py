"""Rows as SCIM resources, and what the service says of itself (RFC 7643, 4 to 7)."""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.urls import reverse

from ..models import ScimGroup, User
from .filtering import Columns

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Schema"
TYPE = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
CONFIG = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
#: Resources of one page at most.
MOST = 200
NONE = Q(pk__in=[])


def _number(value: str) -> int:
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else 0


PERSON_COLUMNS: Columns = {
    "username": lambda value: Q(username__iexact=value),
    "externalid": lambda value: Q(external_id=value) if value else NONE,
    "id": lambda value: Q(pk=_number(value)),
    "emails": lambda value: Q(email__iexact=value),
    "emails.value": lambda value: Q(email__iexact=value),
    "active": lambda value: Q(is_active=value.lower() == "true"),
}
GROUP_COLUMNS: Columns = {
    "displayname": lambda value: Q(display_name__iexact=value),
    "externalid": lambda value: Q(external_id=value) if value else NONE,
    "id": lambda value: Q(pk=_number(value)),
    "members": lambda value: Q(pk__in=ScimGroup.objects.filter(members=_number(value)).values("pk")),
    "members.value": lambda value: Q(pk__in=ScimGroup.objects.filter(members=_number(value)).values("pk")),
}


def location(name: str, *args: object) -> str:
    """A whole address."""
    return f"{settings.PUBLIC_URL.rstrip('/')}{reverse(f'scim:{name}', args=args)}"


def person(row: User) -> dict[str, Any]:
    """A person; `scim_groups` is best fetched with them."""
    found: dict[str, Any] = {
        "schemas": [USER],
        "id": str(row.pk),
        "userName": row.username,
        "name": {"givenName": row.first_name, "familyName": row.last_name, "formatted": row.get_full_name()},
        "displayName": str(row),
        "emails": [{"value": row.email, "type": "work", "primary": True}] if row.email else [],
        "active": row.is_active,
        "groups": [
            {"value": str(group.pk), "display": group.display_name, "$ref": location("group", group.pk)}
            for group in row.scim_groups.all()
        ],
        "meta": {
            "resourceType": "User",
            "created": row.date_joined.isoformat(),
            "location": location("user", row.pk),
        },
    }
    return found | ({"externalId": row.external_id} if row.external_id else {})


def group(row: ScimGroup, *, with_members: bool = True) -> dict[str, Any]:
    """A group; `members` is best fetched with it."""
    found: dict[str, Any] = {
        "schemas": [GROUP],
        "id": str(row.pk),
        "displayName": row.display_name,
        "meta": {
            "resourceType": "Group",
            "created": row.created_at.isoformat(),
            "lastModified": row.updated_at.isoformat(),
            "location": location("group", row.pk),
        },
    }
    if row.external_id:
        found["externalId"] = row.external_id
    if with_members:
        found["members"] = [
            {"value": str(one.pk), "display": str(one), "type": "User"} for one in row.members.all()
        ]
    return found


def listed(rows: Iterable[dict[str, Any]], *, total: int, start: int = 1) -> dict[str, Any]:
    """A page of resources."""
    found = list(rows)
    return {
        "schemas": [LIST], "totalResults": total, "startIndex": start, "itemsPerPage": len(found), "Resources": found,
    }  # fmt: skip


def provider_config() -> dict[str, Any]:
    """What is supported, and what is not."""
    no = {"supported": False}
    return {
        "schemas": [CONFIG],
        "patch": {"supported": True},
        "bulk": {**no, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": MOST},
        "changePassword": no,
        "sort": no,
        "etag": no,
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "API token",
                "description": "Authorization: Bearer dt_… of a token that may provision",
                "primary": True,
            }
        ],
        "meta": {"resourceType": "ServiceProviderConfig", "location": location("config")},
    }


def types() -> list[dict[str, Any]]:
    """The two kinds of resources."""
    return [
        {
            "schemas": [TYPE], "id": name, "name": name, "endpoint": f"/{name}s", "schema": schema, "description": words,
            "meta": {"resourceType": "ResourceType", "location": location("type", name)},
        }
        for name, schema, words in (("User", USER, "A person"), ("Group", GROUP, "A group of the directory"))
    ]  # fmt: skip


def _attribute(name: str, kind: str = "string", **other: Any) -> dict[str, Any]:
    usual = {
        "multiValued": False, "description": "", "required": False, "caseExact": False, "mutability": "readWrite",
        "returned": "default", "uniqueness": "none",
    }  # fmt: skip
    return {"name": name, "type": kind, **usual, **other}


def schemas() -> list[dict[str, Any]]:
    """What of RFC 7643's schemas is kept here."""
    value = _attribute("value")
    read_only = {"multiValued": True, "mutability": "readOnly"}
    of_person = [
        _attribute("userName", required=True, uniqueness="server"),
        _attribute("externalId", caseExact=True),
        _attribute("name", "complex", subAttributes=[_attribute("givenName"), _attribute("familyName")]),
        _attribute("displayName", mutability="readOnly"),
        _attribute(
            "emails", "complex", multiValued=True, subAttributes=[value, _attribute("primary", "boolean")]
        ),
        _attribute("active", "boolean"),
        _attribute("groups", "complex", subAttributes=[value, _attribute("display")], **read_only),
    ]
    of_group = [
        _attribute("displayName", required=True, uniqueness="server"),
        _attribute("externalId", caseExact=True),
        _attribute("members", "complex", multiValued=True, subAttributes=[value]),
    ]
    return [
        {
            "schemas": [SCHEMA], "id": uri, "name": name, "description": name, "attributes": attributes,
            "meta": {"resourceType": "Schema", "location": location("schema", uri)},
        }
        for uri, name, attributes in ((USER, "User", of_person), (GROUP, "Group", of_group))
    ]  # fmt: skip
