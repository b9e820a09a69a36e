"""What is really served, its renewal, who issues, and each order at an ACME directory."""

from typing import ClassVar

from django.db import models
from django.utils import timezone

from apps.accounts.models import Account
from apps.core.models import BaseModel

from ..choices import IssuerKind, OrderState
from .places import Cell, Instance


class Certificate(models.Model):
    """What an instance really serves, as the last handshake saw it. What could not be seen keeps what was seen before."""

    AUDIT_EXEMPT = "observed, not decided"

    instance = models.OneToOneField(
        Instance, on_delete=models.CASCADE, primary_key=True, related_name="certificate"
    )
    subject = models.CharField(max_length=300, blank=True)
    issuer = models.CharField(max_length=300, blank=True)
    names = models.JSONField(default=list, blank=True, help_text="DNS names and addresses it is for")
    not_before = models.DateTimeField(null=True, blank=True)
    not_after = models.DateTimeField(null=True, blank=True)
    fingerprint = models.CharField(max_length=64, blank=True, help_text="SHA-256, in hex")
    key = models.CharField(max_length=40, blank=True)
    is_weak = models.BooleanField(default=False)
    is_mismatched = models.BooleanField(default=False, help_text="it is not for the host of the endpoint")
    is_ours = models.BooleanField(
        default=False, help_text="issued by the internal authority, or over an ACME account kept here"
    )
    issued_by = models.ForeignKey(
        "fleet.CertificateIssuer", null=True, blank=True, on_delete=models.SET_NULL, related_name="+",
        help_text="the ACME issuer that it was ordered from here",
    )  # fmt: skip
    error = models.CharField(max_length=300, blank=True, help_text="why the last handshake failed")
    served_since = models.DateTimeField(null=True, blank=True, help_text="when it was first seen")
    looked_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["not_after"]
        indexes = [
            models.Index(fields=["not_after"], name="certificate_by_end"),
            models.Index(fields=["looked_at"], name="certificate_by_look"),
        ]

    def __str__(self) -> str:
        return f"certificate of instance {self.instance_id}"


class RenewalPolicy(BaseModel):
    """What was issued here is renewed by itself: in an account, or everywhere."""

    account = models.ForeignKey(Account, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    share = models.PositiveSmallIntegerField(
        default=67, help_text="per cent of its life after which one is renewed"
    )
    at_once = models.PositiveSmallIntegerField(
        default=5, help_text="rotations under way at a time, in one cell of an account"
    )
    is_enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["account__name"]
        verbose_name_plural = "renewal policies"
        constraints = [
            models.UniqueConstraint(fields=["account"], name="renewal_once", nulls_distinct=False),
            models.CheckConstraint(
                condition=models.Q(share__gte=10, share__lte=95, at_once__gte=1), name="renewal_has_limits"
            ),
        ]

    def __str__(self) -> str:
        return f"renewal of certificates in {self.account or 'every account'}"

    def event_context(self) -> dict[str, int | None]:
        return {"account_id": self.account_id}


class CertificateIssuer(BaseModel):
    """Who issues certificates in a cell, in an account, or everywhere: the nearest one counts.

    Where there is none, the internal authority does. The account's key and the key of an external
    binding are kept sealed (`certificates/acme/secrets.py`).
    """

    name = models.SlugField(max_length=60, unique=True)
    kind = models.CharField(max_length=10, choices=IssuerKind.choices, default=IssuerKind.ACME)
    account = models.ForeignKey(Account, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    cell = models.ForeignKey(Cell, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    directory_url = models.URLField(max_length=300, blank=True, help_text="of the ACME directory, https")
    contact = models.EmailField(blank=True, help_text="whom the authority writes to")
    domain = models.CharField(
        max_length=200,
        blank=True,
        help_text="an instance is called NAME.domain; its record leads to the portal",
    )
    covers_tenants = models.BooleanField(
        default=False, help_text="the domains of the tenants that an instance serves are asked for too"
    )
    directory_roots = models.TextField(
        blank=True, help_text="PEM: whom to trust for the directory's own HTTPS; empty: this machine's trust"
    )
    roots = models.TextField(
        blank=True, help_text="PEM: roots in which its certificates end; empty: this machine's trust"
    )
    eab_kid = models.CharField(max_length=200, blank=True, help_text="external account binding: key id")
    eab_key_sealed = models.TextField(blank=True, editable=False)
    key_sealed = models.TextField(blank=True, editable=False)
    account_url = models.URLField(max_length=500, blank=True, editable=False)
    held_until = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="it limits orders: none before then"
    )
    held_why = models.CharField(max_length=300, blank=True, editable=False)
    is_enabled = models.BooleanField(default=True)

    AUDIT_EXCLUDE: ClassVar[tuple[str, ...]] = ("created_at", "updated_at", "key_sealed", "eab_key_sealed")

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "cell"], name="issuer_once_for_a_place", nulls_distinct=False
            ),
            models.CheckConstraint(
                condition=models.Q(account__isnull=True) | models.Q(cell__isnull=True),
                name="issuer_has_one_place",
            ),
            models.CheckConstraint(
                condition=models.Q(kind=IssuerKind.INTERNAL)
                | (models.Q(directory_url__startswith="https://") & ~models.Q(domain="")),
                name="issuer_over_acme_has_a_directory",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def place(self) -> "Account | Cell | None":
        """Where it issues; None: everywhere."""
        return self.cell or self.account

    @property
    def is_held(self) -> bool:
        """Whether it limits its orders now."""
        return self.held_until is not None and self.held_until > timezone.now()

    def event_context(self) -> dict[str, int | None]:
        if self.cell is not None:
            return self.cell.event_context()
        return {"account_id": self.account_id}


class AcmeOrder(BaseModel):
    """One order at an ACME directory, for one rotation. Its private key is sealed, and forgotten once it is served."""

    issuer = models.ForeignKey(CertificateIssuer, on_delete=models.PROTECT, related_name="orders")
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="acme_orders")
    operation_id = models.BigIntegerField(unique=True)
    names = models.JSONField(default=list, help_text="DNS names and addresses asked for")
    state = models.CharField(max_length=10, choices=OrderState.choices, default=OrderState.NEW)
    url = models.URLField(max_length=500, blank=True)
    key_sealed = models.TextField(blank=True, editable=False)
    fingerprint = models.CharField(max_length=64, blank=True, help_text="SHA-256 of what was issued, in hex")
    error = models.CharField(max_length=500, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    AUDIT_EXCLUDE: ClassVar[tuple[str, ...]] = ("created_at", "updated_at", "key_sealed")

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["issuer", "-id"], name="acme_order_by_issuer"),
            models.Index(
                fields=["fingerprint"], name="acme_order_by_print", condition=~models.Q(fingerprint="")
            ),
        ]

    def __str__(self) -> str:
        return f"order {self.pk} for {', '.join(self.names[:3])}"

    def event_context(self) -> dict[str, int | None]:
        return self.instance.event_context()


class AcmeChallenge(models.Model):
    """What the portal answers to a directory that asks whether a name is ours (RFC 8555, 8.3); gone with its order's end."""

    AUDIT_EXEMPT = "lasts for seconds; its order is recorded"

    token = models.CharField(max_length=200, primary_key=True)
    order = models.ForeignKey(AcmeOrder, on_delete=models.CASCADE, related_name="challenges")
    name = models.CharField(max_length=253)
    answer = models.CharField(max_length=300)
    made_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-made_at"]

    def __str__(self) -> str:
        return f"challenge for {self.name}"
