"""Who is told, in which order, by which way; and each attempt to tell them."""

from datetime import time

from django.conf import settings
from django.db import models
from django.utils import timezone

from apps.accounts.models import Account
from apps.core.models import BaseModel

from ..choices import EscalationState, PageState, Severity
from .incidents import Incident


class OnCallSchedule(BaseModel):
    """People who take turns. A turn begins at `handover` on the zone's own clock, every `days` days from `starts_on`."""

    name = models.CharField(max_length=80, unique=True)
    zone = models.CharField(max_length=64, default="UTC", help_text="IANA time zone of the handover")
    handover = models.TimeField(default=time(9), help_text="when a turn ends and the next begins")
    days = models.PositiveSmallIntegerField(default=7, help_text="days a turn lasts")
    starts_on = models.DateField(help_text="the day on which the first person's first turn begins")

    class Meta:
        ordering = ["name"]
        constraints = [models.CheckConstraint(condition=models.Q(days__gte=1), name="oncall_turn_has_days")]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        from ..rotations import check_zone

        check_zone(self.zone)


class OnCallMember(BaseModel):
    """One place in the order of turns."""

    schedule = models.ForeignKey(OnCallSchedule, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    position = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["schedule", "position"], name="oncallmember_place_once")
        ]

    def __str__(self) -> str:
        return f"{self.position}. of schedule {self.schedule_id}"


class OnCallOverride(BaseModel):
    """Somebody stands in for whoever's turn it is."""

    schedule = models.ForeignKey(OnCallSchedule, on_delete=models.CASCADE, related_name="overrides")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    reason = models.CharField(max_length=200)

    class Meta:
        ordering = ["-starts_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at__gt=models.F("starts_at")), name="override_ends_after_start"
            )
        ]

    def __str__(self) -> str:
        return f"override on schedule {self.schedule_id}"


class Channel(BaseModel):
    """A way to reach a person, or a team when it has no owner. Its address is sealed, or names an environment variable."""

    name = models.CharField(max_length=80, unique=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="channels"
    )
    rank = models.PositiveSmallIntegerField(default=1, help_text="of one owner's channels, the lowest first")
    scheme = models.CharField(max_length=20, editable=False)
    url_sealed = models.TextField(blank=True, editable=False)
    url_from = models.CharField(
        max_length=80, blank=True, editable=False, help_text="the environment variable that holds the address"
    )
    is_enabled = models.BooleanField(default=True)

    AUDIT_EXCLUDE = ("created_at", "updated_at", "url_sealed")

    class Meta:
        ordering = ["owner__username", "rank", "name"]

    def __str__(self) -> str:
        return self.name


class EscalationPolicy(BaseModel):
    """Who is told of an incident, one step after the other. Of those that fit, the lowest `rank` is taken."""

    name = models.CharField(max_length=80, unique=True)
    rank = models.PositiveSmallIntegerField(default=100)
    min_severity = models.CharField(max_length=8, choices=Severity.choices, default=Severity.WARNING)
    account = models.ForeignKey(
        Account, null=True, blank=True, on_delete=models.CASCADE, related_name="+",
        help_text="only for incidents in this account",
    )  # fmt: skip
    repeats = models.PositiveSmallIntegerField(
        default=2, help_text="how often to begin again when nobody acknowledged"
    )
    quiet_from = models.TimeField(
        null=True, blank=True, help_text="nobody is told of what can wait from then …"
    )
    quiet_until = models.TimeField(null=True, blank=True, help_text="… until then")
    quiet_below = models.CharField(
        max_length=8, choices=Severity.choices, default=Severity.CRITICAL,
        help_text="in quiet hours what is less bad than this waits until they end",
    )  # fmt: skip
    zone = models.CharField(max_length=64, default="UTC", help_text="IANA time zone of the quiet hours")
    is_enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["rank", "name"]
        verbose_name_plural = "escalation policies"

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        from ..rotations import check_hours, check_zone

        check_zone(self.zone)
        check_hours(self.quiet_from, self.quiet_until, "quiet_until")


class EscalationStep(BaseModel):
    """Whom to tell, and how long to wait for an acknowledgement before the next step."""

    policy = models.ForeignKey(EscalationPolicy, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveSmallIntegerField()
    schedule = models.ForeignKey(
        OnCallSchedule, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    channel = models.ForeignKey(Channel, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    wait = models.PositiveIntegerField(default=300, help_text="seconds until the next step")

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["policy", "position"], name="escalationstep_place_once"),
            models.CheckConstraint(
                condition=models.Q(schedule__isnull=False, channel__isnull=True)
                | models.Q(schedule__isnull=True, channel__isnull=False),
                name="escalationstep_one_target",
            ),
        ]

    def __str__(self) -> str:
        return f"step {self.position} of policy {self.policy_id}"


class Escalation(models.Model):
    """How far the telling of one incident has come. Claimed by a conditional UPDATE of `turn`."""

    AUDIT_EXEMPT = "moved by the clock; the policy and the acknowledgement are recorded"

    incident = models.OneToOneField(Incident, on_delete=models.CASCADE, related_name="escalation")
    policy = models.ForeignKey(EscalationPolicy, null=True, on_delete=models.SET_NULL, related_name="+")
    state = models.CharField(max_length=12, choices=EscalationState.choices, default=EscalationState.ACTIVE)
    turn = models.PositiveIntegerField(default=0, help_text="steps taken so far, repeats counted")
    began = models.PositiveIntegerField(
        default=0, help_text="the turn at which its policy took over; another one may, when it gets worse"
    )
    next_at = models.DateTimeField()
    started_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [
            models.Index(
                fields=["next_at"],
                name="escalation_due",
                condition=models.Q(state=EscalationState.ACTIVE),
            )
        ]

    def __str__(self) -> str:
        return f"escalation of incident {self.incident_id}"


class Page(models.Model):
    """One message to one recipient: written with the step that asked for it, sent afterwards, once."""

    AUDIT_EXEMPT = "an outbox; each attempt is kept as a Delivery"

    id = models.BigAutoField(primary_key=True)
    incident = models.ForeignKey(
        Incident, null=True, blank=True, on_delete=models.CASCADE, related_name="pages"
    )
    turn = models.PositiveIntegerField(default=0)
    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    channels = models.JSONField(default=list, help_text="ids of the channels to try, in order")
    place = models.PositiveSmallIntegerField(default=0, help_text="which of them is being tried")
    title = models.CharField(max_length=300)
    body = models.TextField()
    state = models.CharField(max_length=10, choices=PageState.choices, default=PageState.PENDING)
    tries = models.PositiveSmallIntegerField(default=0, help_text="on the channel being tried")
    next_at = models.DateTimeField(default=timezone.now)
    claim = models.UUIDField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    may_repeat = models.BooleanField(
        default=False, help_text="a worker died while it sent this: it may have arrived twice"
    )
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["incident", "turn"],
                condition=models.Q(incident__isnull=False),
                name="page_once_for_a_step",
            )
        ]
        indexes = [
            models.Index(
                fields=["next_at"],
                name="page_due",
                condition=models.Q(state__in=[PageState.PENDING, PageState.SENDING]),
            )
        ]

    def __str__(self) -> str:
        return self.title


class Delivery(models.Model):
    """One attempt to send a page by one channel."""

    AUDIT_EXEMPT = "a record of attempts, only ever inserted"

    id = models.BigAutoField(primary_key=True)
    page = models.ForeignKey(Page, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.ForeignKey(Channel, null=True, on_delete=models.SET_NULL, related_name="deliveries")
    at = models.DateTimeField(default=timezone.now)
    is_ok = models.BooleanField()
    detail = models.CharField(max_length=200, blank=True)
    took_ms = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "deliveries"

    def __str__(self) -> str:
        return f"attempt on page {self.page_id}"
