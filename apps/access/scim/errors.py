"""What a SCIM client is told when something is not done (RFC 7644, 3.12)."""

from collections.abc import Mapping
from typing import Any

from django.http import JsonResponse

CONTENT_TYPE = "application/scim+json"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


class ScimError(Exception):
    """Nothing was changed. `kind` is the RFC's `scimType`, where there is one for it."""

    def __init__(self, status: int, detail: str, kind: str = "") -> None:
        super().__init__(detail)
        self.status, self.detail, self.kind = status, detail, kind

    def answer(self, headers: Mapping[str, str] | None = None) -> JsonResponse:
        body: dict[str, Any] = {"schemas": [ERROR], "status": str(self.status), "detail": self.detail}
        if self.kind:
            body["scimType"] = self.kind
        return JsonResponse(body, status=self.status, content_type=CONTENT_TYPE, headers=dict(headers or {}))


def bad_value(detail: str) -> ScimError:
    """A value that is none."""
    return ScimError(400, detail, "invalidValue")


def bad_syntax(detail: str) -> ScimError:
    """A body that is no SCIM message."""
    return ScimError(400, detail, "invalidSyntax")


def taken(detail: str) -> ScimError:
    """Somebody, or another group, has it already."""
    return ScimError(409, detail, "uniqueness")


def beyond(detail: str) -> ScimError:
    """More than the client's token may give or change."""
    return ScimError(403, detail)
