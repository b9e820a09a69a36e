"""What `manage.py check` says about the trail's keys."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from . import keys, signing


@register("audit")
def keys_are_keys(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A key that is set is one; said without showing it."""
    found: list[CheckMessage] = []
    try:
        if settings.AUDIT_SIGNING_KEY:
            signing.signing_key()
    except keys.BadKey as error:
        found.append(Error(str(error), id="audit.E001"))
    try:
        keys.trusted(settings.AUDIT_TRUSTED_KEYS)
    except keys.BadKey as error:
        found.append(Error(f"AUDIT_TRUSTED_KEYS: {error}", id="audit.E002"))
    return found


@register("audit", deploy=True)
def production_seals(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A production portal has a key to seal with."""
    if settings.PRODUCTION and not settings.AUDIT_SIGNING_KEY:
        return [Warning(str(signing.NoKey()), id="audit.W001")]
    return []
