"""Alerting's forms. Places are named, and found among those the reader sees."""

from datetime import UTC, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from apps.access.scoping import visible
from apps.access.services import people
from apps.accounts.models import Account
from apps.core.fields import only_when
from apps.fleet.models import Cell, Instance

from .choices import NoticeStage, Remedy, SourceKind
from .models import (
    Channel,
    EscalationPolicy,
    EscalationStep,
    Heartbeat,
    OnCallSchedule,
    RecoveryPolicy,
    Silence,
)
from .runbooks.reading import Malformed
from .services import Refused

STEPS = 4
CLOCK = forms.TimeInput(attrs={"type": "time"}, format="%H:%M")
MOMENT = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
LASTS = [
    (30, "30 minutes"),
    (60, "1 hour"),
    (240, "4 hours"),
    (720, "12 hours"),
    (1440, "1 day"),
    (10080, "7 days"),
]


class PlacedForm(forms.Form):
    """A form with the name of a place that the reader sees; `found` holds it by its kind."""

    place = forms.CharField(
        label="On",
        required=False,
        max_length=120,
        help_text="name of an instance, cell or account; empty: everything",
    )
    kinds: tuple[type[Any], ...] = (Instance, Cell, Account)

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        self.found: dict[str, Any] = {}

    def clean_place(self) -> str:
        text = str(self.cleaned_data["place"]).strip()
        if not text:
            return text
        for kind in self.kinds:
            if one := visible(self.user, kind).filter(name=text).first():
                self.found = {str(kind._meta.model_name): one}
                return text
        words = ", ".join(str(kind._meta.model_name) for kind in self.kinds)
        raise ValidationError(f"There is no {words} “{text}” that you can see.")

    def put_place(self, obj: Any) -> None:
        """Set the place on a model's row."""
        for kind in self.kinds:
            setattr(obj, str(kind._meta.model_name), self.found.get(str(kind._meta.model_name)))


def labels_of(text: str) -> dict[str, str]:
    """`name=value` pairs, by comma. Raises ValidationError."""
    pairs = [part.strip() for part in text.split(",") if part.strip()]
    if any("=" not in pair for pair in pairs):
        raise ValidationError("Write labels as name=value, with commas between them.")
    return {k.strip(): v.strip() for k, v in (pair.split("=", 1) for pair in pairs)}


class SilenceForm(PlacedForm):
    """What, where, how long, why."""

    name = forms.CharField(
        label="Alert", required=False, max_length=120, help_text="its exact name; empty: any"
    )
    labels = forms.CharField(
        required=False, max_length=500, help_text="name=value, …; all of them have to be there"
    )
    minutes = forms.TypedChoiceField(label="For", choices=LASTS, coerce=int, initial=60)
    reason = forms.CharField(label="Why", min_length=3, max_length=500)
    field_order = ("place", "name", "labels", "minutes", "reason")

    def clean_labels(self) -> dict[str, str]:
        return labels_of(self.cleaned_data["labels"])

    def silence(self) -> Silence:
        """The silence asked for, not saved."""
        data = self.cleaned_data
        made = Silence(
            name=data["name"], labels=data["labels"], reason=data["reason"],
            ends_at=timezone.now().astimezone(UTC) + timedelta(minutes=data["minutes"]),
        )  # fmt: skip
        self.put_place(made)
        return made


class SourceForm(PlacedForm):
    """Something that may send signals."""

    kinds = (Account,)
    name = forms.SlugField(max_length=60)
    kind = forms.ChoiceField(choices=SourceKind.choices)
    field_order = ("name", "kind", "place")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["place"].label = "Account"
        self.fields["place"].help_text = "it may speak about this account only; empty: about everything"


class HeartbeatForm(forms.ModelForm):  # type: ignore[type-arg]
    """Something that has to be heard of."""

    class Meta:
        model = Heartbeat
        fields = ("name", "every", "grace", "severity")


class ChannelForm(forms.ModelForm):  # type: ignore[type-arg]
    """A way to be reached. The address is never shown again."""

    address = forms.CharField(
        required=False,
        max_length=1_000,
        help_text="an Apprise address, such as mailto://… or slack://…; or env:DAYTWO_CHANNEL_…, a variable of the workers. "
        "It is kept sealed and never shown; empty leaves it as it is.",
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )
    for_team = forms.BooleanField(required=False, label="A team's, nobody's own")

    class Meta:
        model = Channel
        fields = ("name", "rank", "is_enabled")

    field_order = ("name", "address", "rank", "for_team", "is_enabled")


class OnCallForm(forms.ModelForm):  # type: ignore[type-arg]
    """Who takes turns, in which order, from when."""

    order = forms.CharField(
        label="People", help_text="user names in the order of their turns, with commas between them"
    )

    class Meta:
        model = OnCallSchedule
        fields = ("name", "zone", "handover", "days", "starts_on")
        widgets = {"handover": CLOCK, "starts_on": forms.DateInput(attrs={"type": "date"})}

    field_order = ("name", "order", "days", "handover", "zone", "starts_on")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["order"] = ", ".join(
                m.user.username for m in self.instance.members.select_related("user")
            )
        else:
            # Yesterday, whose handover has passed: made at night with today's, nobody would be on call until it.
            self.initial.setdefault("starts_on", timezone.now().date() - timedelta(days=1))

    def clean_order(self) -> list[Any]:
        names = [n.strip() for n in self.cleaned_data["order"].split(",") if n.strip()]
        found = {p.username: p for p in people().filter(username__in=names)}
        if missing := [n for n in names if n not in found]:
            raise ValidationError(f"There is nobody named {', '.join(missing)}.")
        return [found[name] for name in names]


class OverrideForm(forms.Form):
    """Who stands in, where, from when until when, why."""

    schedule = forms.ModelChoiceField(queryset=OnCallSchedule.objects.all())
    person = forms.CharField(label="Who", max_length=150, help_text="user name")
    starts_at = forms.DateTimeField(label="From", widget=MOMENT)
    ends_at = forms.DateTimeField(label="Until", widget=MOMENT)
    reason = forms.CharField(label="Why", min_length=3, max_length=200)

    def clean_person(self) -> Any:
        name = self.cleaned_data["person"].strip()
        found = people().filter(username=name, is_active=True).first()
        if found is None:
            raise ValidationError(f"There is nobody named {name}.")
        return found


class EscalationForm(forms.ModelForm):  # type: ignore[type-arg]
    """Whom to tell, one step after the other."""

    class Meta:
        model = EscalationPolicy
        fields = (
            "name",
            "rank",
            "min_severity",
            "repeats",
            "quiet_from",
            "quiet_until",
            "quiet_below",
            "zone",
            "is_enabled",
        )
        widgets = {"quiet_from": CLOCK, "quiet_until": CLOCK}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["quiet_below"].required = False  # left out, it is the model's default
        targets = [("", "nobody")]
        targets += [(f"schedule:{s.pk}", f"on call: {s.name}") for s in OnCallSchedule.objects.all()]
        targets += [
            (f"channel:{c.pk}", f"channel: {c.name}") for c in Channel.objects.filter(owner__isnull=True)
        ]
        steps = list(self.instance.steps.all()) if self.instance.pk else []
        for n in range(1, STEPS + 1):
            step = steps[n - 1] if len(steps) >= n else None
            self.fields[f"target_{n}"] = forms.ChoiceField(
                label=f"Step {n}: tell", choices=targets, required=n == 1
            )
            self.fields[f"wait_{n}"] = forms.IntegerField(
                label=f"Step {n}: then wait, in seconds",
                min_value=10,
                max_value=86_400,
                initial=step.wait if step else 300,
            )
            if step:
                kind, pk = (
                    ("schedule", step.schedule_id) if step.schedule_id else ("channel", step.channel_id)
                )
                self.initial[f"target_{n}"] = f"{kind}:{pk}"

    def steps(self) -> list[EscalationStep]:
        """The steps asked for, not saved."""
        made = []
        for n in range(1, STEPS + 1):
            kind, _, pk = self.cleaned_data.get(f"target_{n}", "").partition(":")
            if kind:
                made.append(EscalationStep(**{f"{kind}_id": int(pk)}, wait=self.cleaned_data[f"wait_{n}"]))
        return made


class RecoveryForm(PlacedForm, forms.ModelForm):  # type: ignore[type-arg]
    """Which alert, which answer, within which limits."""

    kinds = (Cell, Account)
    with_labels = forms.CharField(
        label="Labels",
        required=False,
        max_length=500,
        help_text="name=value, …; all of them have to be there",
    )

    class Meta:
        model = RecoveryPolicy
        fields = (
            "name", "alert_name", "min_severity", "remedy", "runbook", "max_affected", "rank", "delay", "cooldown", "tries", "per_cell", "per_fleet",
            "hours_from", "hours_until", "zone", "grace", "breaker_after", "is_dry_run",
        )  # fmt: skip
        widgets = {"hours_from": CLOCK, "hours_until": CLOCK}
        labels = {
            "is_dry_run": "Only say what it would do",
            "min_severity": "From severity",
            "remedy": "Answer",
            "max_affected": "Ask above so many tenants",
        }

    field_order = ("name", "alert_name", "min_severity", "place", "with_labels", "remedy", "runbook")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["place"].help_text = "name of a cell or account; empty: everything"
        only_when(self, "remedy", runbook=[Remedy.RUNBOOK])
        if self.instance.pk:
            self.initial["place"] = str(self.instance.cell or self.instance.account or "")
            self.initial["with_labels"] = ", ".join(f"{k}={v}" for k, v in self.instance.labels.items())

    def clean_with_labels(self) -> dict[str, str]:
        return labels_of(self.cleaned_data["with_labels"])

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if (cleaned.get("remedy") == Remedy.RUNBOOK) != bool(cleaned.get("runbook")):
            self.add_error("runbook", "A runbook belongs to the answer “run a runbook”, which needs one.")
        self.instance.labels = cleaned.get("with_labels") or {}
        self.put_place(self.instance)
        return cleaned


class NoteForm(forms.Form):
    """What was found or decided."""

    text = forms.CharField(label="Note", max_length=4_000, widget=forms.Textarea(attrs={"rows": 2}))


class NoticeForm(forms.Form):
    """What customers are told."""

    stage = forms.ChoiceField(choices=NoticeStage.choices)
    subject = forms.CharField(max_length=200)
    body = forms.CharField(label="Text", max_length=5_000, widget=forms.Textarea(attrs={"rows": 16}))


def refuse(form: Any, error: Exception) -> None:
    """Show what stood against it above the form."""
    if (
        isinstance(error, ValidationError)
        and hasattr(error, "error_dict")
        and set(error.error_dict) <= set(form.fields)
    ):
        form.add_error(None, error)
        return
    complaints = error.complaints if isinstance(error, Malformed) else [str(error)]
    for message in error.messages if isinstance(error, ValidationError) else complaints:
        form.add_error(None, message)


REFUSALS = (Refused, ValidationError, Malformed)
