"""What an entry of the trail may tell of."""

from django.db import models


class EventKind(models.TextChoices):
    """The kind of thing that happened. A change of a row is the rule; the others are told by name."""

    CHANGE = "change", "Change"
    ACCESS = "access", "Access given or taken"
    OPERATION = "operation", "Operation"
    SIGN_IN = "sign_in", "Sign-in"
    SIGN_IN_FAILED = "sign_in_failed", "Failed sign-in"
    SIGN_OUT = "sign_out", "Sign-out"
    DENIED = "denied", "Denied"
    EXPORT = "export", "Export"
    READ = "read", "Sensitive read"
    RETENTION = "retention", "Entries let go"


class StreamKind(models.TextChoices):
    """How entries travel to a SIEM."""

    WEBHOOK = "webhook", "Webhook (HTTP POST, signed)"
    SYSLOG = "syslog", "Syslog (RFC 5424 over TCP or TLS)"
