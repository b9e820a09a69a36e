"""What a client sends, read into plain values. Attribute names are of any case (RFC 7643, 2.1), and so are the words of PATCH.

Okta sends whole dictionaries without a path, Entra sends “Replace”, and “False” where false is meant: both are read.
What Daytwo does not keep of a person (titles, addresses, the enterprise extension) is passed over; an attribute that no
schema has is refused in the path of PATCH, and passed over in a whole resource, as the RFC asks.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import RequestDataTooBig, ValidationError
from django.core.validators import validate_email
from django.http import HttpRequest

from apps.core import strict_json

from . import filtering
from .errors import ScimError, bad_syntax, bad_value
from .filtering import Path

#: Bytes of a body; operations of a PATCH; members that one request names.
LARGEST, MOST_OPERATIONS, MOST_MEMBERS = 1024 * 1024, 100, 10_000
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
#: What RFC 7643 has for a person and Daytwo does not keep; its extensions begin with urn:.
PASSED_OVER = frozenset(
    (
        "schemas", "id", "meta", "groups", "displayname", "nickname", "profileurl", "title", "usertype", "preferredlanguage",
        "locale", "timezone", "password", "phonenumbers", "ims", "photos", "addresses", "entitlements", "roles",
        "x509certificates",
    )
)  # fmt: skip
TEXTS = {"username": "username", "externalid": "external_id"}
NAMES = {"givenname": "first_name", "familyname": "last_name"}
LENGTHS = {"username": 150, "first_name": 150, "last_name": 150, "external_id": 254}


@dataclass(frozen=True, slots=True)
class Change:
    """One operation of a PATCH, its words in lower case; a dictionary without a path is one for each of its keys."""

    op: str
    path: Path
    value: Any


def body_of(request: HttpRequest) -> dict[str, Any]:
    """The JSON object that was sent, the names of its attributes in lower case. Raises ScimError."""
    try:
        raw = request.body if int(request.headers.get("Content-Length") or 0) <= LARGEST else None
    except (RequestDataTooBig, ValueError):
        raw = None
    if raw is None or len(raw) > LARGEST:
        raise ScimError(
            413, f"Send {LARGEST // 1024} KiB at most; push the members of a large group in parts."
        )
    try:
        found = strict_json.loads(raw)
    except ValueError as wrong:
        raise bad_syntax(f"The body is no JSON that can be kept: {wrong}.") from wrong
    if not isinstance(found, dict):
        raise bad_syntax("Send a JSON object.")
    return lowered(found)


def lowered(found: Mapping[str, Any]) -> dict[str, Any]:
    """The same with lower-case keys."""
    return {str(key).lower(): value for key, value in found.items()}


def changes_of(body: Mapping[str, Any]) -> Iterator[Change]:
    """The operations of a PATCH, in order. Raises ScimError."""
    operations = body.get("operations")
    if not isinstance(operations, list) or not 1 <= len(operations) <= MOST_OPERATIONS:
        raise bad_syntax(f"Operations is a list of 1 to {MOST_OPERATIONS} operations.")
    for one in operations:
        found = lowered(one) if isinstance(one, dict) else {}
        op, where, value = str(found.get("op", "")).lower(), found.get("path"), found.get("value")
        if op not in ("add", "replace", "remove"):
            raise bad_syntax("op is add, replace or remove.")
        if isinstance(where, str) and where:
            yield Change(op, filtering.path(where), value)
        elif op == "remove":
            raise ScimError(400, "remove needs a path.", "noTarget")
        elif isinstance(value, dict):
            for key, inner in value.items():
                yield Change(op, _key(str(key)), inner)
        else:
            raise bad_syntax("Without a path, value is an object of attributes.")


def _key(key: str) -> Path:
    """A key of a value without a path: an attribute, attribute.sub, or an extension's URN, which is passed over."""
    return Path(key.lower()) if key.lower().startswith("urn:") else filtering.path(key)


def text(name: str, value: Any, longest: int) -> str:
    """A text of one line's worth. Raises ScimError for anything else."""
    if value is None:
        return ""
    if not isinstance(value, str) or "\x00" in value or len(value.strip()) > longest:
        raise bad_value(f"{name} is a text of {longest} characters at most.")
    return value.strip()


def truth(value: Any) -> bool:
    """True or false, also as Entra writes them. Raises ScimError."""
    found = {"true": True, "false": False}.get(str(value).lower())
    if found is None:
        raise bad_value("active is true or false.")
    return found


def email_of(value: Any) -> str:
    """Of several addresses the primary one, else the one for work, else the first. Raises ScimError."""
    if isinstance(value, list):
        rows = [lowered(one) if isinstance(one, dict) else {"value": one} for one in value]
        rows.sort(key=lambda row: (not row.get("primary"), str(row.get("type", "")).lower() != "work"))
        value = rows[0].get("value") if rows else ""
    elif isinstance(value, dict):
        value = lowered(value).get("value")
    found = text("emails", value, 254)
    try:
        if found:
            validate_email(found)
    except ValidationError as wrong:
        raise bad_value(f"No e-mail address: {found[:80]}") from wrong
    return found


def person_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a whole resource sets. Raises ScimError; so it does without a userName."""
    fields: dict[str, Any] = {}
    for name, value in body.items():
        if name in ("username", "externalid", "name", "emails", "active"):
            fields |= fields_of(Path(name), value)
    if not fields.get("username"):
        raise bad_value("userName is required.")
    return fields


def fields_of(where: Path, value: Any) -> dict[str, Any]:
    """The fields of a person that a value at a place sets; nothing for what Daytwo does not keep. Raises ScimError."""
    name = where.attribute
    if name in TEXTS:
        return {TEXTS[name]: _checked(TEXTS[name], value)}
    if name == "name":
        parts = {where.sub: value} if where.sub else lowered(value) if isinstance(value, dict) else {}
        return {NAMES[part]: _checked(NAMES[part], one) for part, one in parts.items() if part in NAMES}
    if name == "emails":
        other = where.where and (where.where[0], where.where[1].lower()) not in (
            ("type", "work"),
            ("primary", "true"),
        )
        return {} if other or where.sub not in ("", "value") else {"email": email_of(value)}
    if name == "active":
        return {"is_active": truth(value)}
    if name in PASSED_OVER or name.startswith("urn:"):
        return {}
    raise ScimError(400, f"A person has no attribute {name[:80]}.", "invalidPath")


def _checked(field: str, value: Any) -> str:
    found = text(field, value, LENGTHS[field])
    if field == "username":
        try:
            UnicodeUsernameValidator()(found)
        except ValidationError as wrong:
            raise bad_value("userName has letters, digits and @ . + - _ only.") from wrong
    return found


def members_of(value: Any) -> list[int]:
    """The ids that a list of members names. Raises ScimError."""
    rows = value if isinstance(value, list) else [value]
    if len(rows) > MOST_MEMBERS:
        raise bad_value(f"Name {MOST_MEMBERS} members at most at once.")
    return [id_of(lowered(one).get("value") if isinstance(one, dict) else one) for one in rows]


def id_of(value: Any) -> int:
    """One of our ids, which travel as text. Raises ScimError."""
    found = str(value)
    if not (found.isascii() and found.isdigit() and len(found) < 19):
        raise bad_value(f"No such member: {found[:40]}")
    return int(found)
