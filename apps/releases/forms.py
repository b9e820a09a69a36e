"""Forms of releases, rollouts and rules."""

from typing import Any

from django import forms
from django.conf import settings
from django.utils import timezone

from apps.access.scoping import visible
from apps.accounts.models import Account
from apps.operations.services import MIN_REASON, Refused
from apps.tenants.models import Tenant

from .choices import UNDEPLOYABLE, GateMode, Measure, PolicyScope, Severity, VexWhy
from .customers import BODY, SUBJECT
from .excluding import Excluded, read_exclusions
from .models import Freeze, MetricSource, Release, Ring, Rollout
from .rules import SCOPE_MODELS
from .windows import DAYS

WHY = {"required": "Say why, in a few words.", "min_length": "Say why, in a few words."}


def reason_field(label: str = "Why") -> forms.CharField:
    """The reason that stands in the audit trail."""
    return forms.CharField(
        label=label, max_length=500, min_length=MIN_REASON, error_messages=WHY,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )  # fmt: skip


class UploadForm(forms.Form):
    """A document of at most RELEASE_UPLOAD_MAX_BYTES."""

    document = forms.FileField(
        label="JSON file", widget=forms.FileInput(attrs={"accept": ".json,application/json"})
    )

    def clean_document(self) -> bytes:
        """The bytes; a file that is too large is not read."""
        upload: Any = self.cleaned_data["document"]
        most: int = settings.RELEASE_UPLOAD_MAX_BYTES
        if (upload.size or 0) > most:
            raise forms.ValidationError(
                f"The file has {(upload.size or 0) / 1e6:,.1f} MB; {most / 1e6:,.1f} MB are the most."
            )
        raw: bytes = upload.read()
        return raw


class ReleaseForm(forms.ModelForm):  # type: ignore[type-arg]
    """A release, as it is drafted."""

    cves = forms.CharField(label="CVEs it mends", required=False, help_text="separated by blanks or commas")

    class Meta:
        model = Release
        fields = ("version", "kind", "severity", "cves", "notes")
        widgets = {"notes": forms.Textarea(attrs={"rows": 5})}

    def clean_cves(self) -> list[str]:
        return list(dict.fromkeys(self.cleaned_data["cves"].upper().replace(",", " ").split()))


class ArtifactForm(forms.Form):
    """An artifact by its digest."""

    name = forms.CharField(max_length=200)
    sha256 = forms.CharField(label="SHA-256", max_length=64)
    signature = forms.CharField(
        required=False, max_length=100, help_text="Ed25519 over the digest, in base64"
    )


class ReasonForm(forms.Form):
    """Why."""

    reason = reason_field()


class SeenForm(forms.Form):
    """The limit that somebody saw to be wanted."""

    count = forms.IntegerField(required=False, min_value=1)
    percent = forms.IntegerField(required=False, min_value=1, max_value=100)


class RolloutForm(forms.ModelForm):  # type: ignore[type-arg]
    """What a rollout shall bring where, and how carefully."""

    exclude = forms.CharField(
        label="Leave alone",
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="a line each, a tenant's key or the name of a cell or an instance, and why: acme: audit until Friday",
    )

    class Meta:
        model = Rollout
        fields = (
            "release", "query", "up_to_ring", "canary", "growth", "concurrency", "bake_seconds", "gate", "metric_source", "min_requests", "on_fail", "reason",
        )  # fmt: skip
        labels = {
            "query": "Instances", "up_to_ring": "Up to ring", "bake_seconds": "Bake time (s)", "gate": "The gate looks at", "metric_source": "Metrics from", "reason": "Why",
            "min_requests": "Requests each side needs", "on_fail": "When a gate fails", "growth": "Growth",
        }  # fmt: skip
        help_texts = {
            "query": "the filter of the list of instances, as its address says it: cell=eu-west-1a&version=4.12.3. Empty: all you may roll out to",
            "canary": "size of the first wave: 2, or 5%",
        }
        widgets = {"reason": forms.TextInput(attrs={"autocomplete": "off"})}

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        release: Any = self.fields["release"]
        release.queryset = visible(user, Release).exclude(life__in=UNDEPLOYABLE).order_by("-pk")
        release.empty_label = "choose…"
        names = visible(user, Ring).values_list("name", flat=True)
        self.fields["up_to_ring"] = forms.ChoiceField(
            label="Up to ring", required=False, choices=[("", "all rings"), *((name, name) for name in names)]
        )
        self.user = user
        source: Any = self.fields["metric_source"]
        source.queryset, source.empty_label = visible(user, MetricSource), "each instance's provider"

    def clean_exclude(self) -> list[Excluded]:
        try:
            return read_exclusions(self.cleaned_data["exclude"], actor=self.user)
        except Refused as refusal:
            raise forms.ValidationError(str(refusal)) from refusal


class HotPatchForm(forms.Form):
    """A version for one tenant alone."""

    tenant = forms.CharField(help_text="its key", max_length=63)
    release = forms.ModelChoiceField(Release.objects.none(), empty_label="choose…")
    until = forms.DateTimeField(
        help_text="when the tenant shall be back on the main line",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
    )
    gate = forms.ChoiceField(label="The gate looks at", choices=GateMode.choices, initial=GateMode.HEALTH)
    bake_seconds = forms.IntegerField(label="Bake time (s)", min_value=0, max_value=86_400, initial=60)
    reason = reason_field()

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        release: Any = self.fields["release"]
        release.queryset = visible(user, Release).exclude(life__in=UNDEPLOYABLE).order_by("-pk")

    def clean_tenant(self) -> Tenant:
        return tenant_of(self.user, self.cleaned_data["tenant"])


class RetargetForm(forms.Form):
    """Another version for a rollout."""

    release = forms.ModelChoiceField(Release.objects.none(), empty_label="choose…")
    reason = reason_field()

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"auto_id": "retarget-%s", **kwargs})
        release: Any = self.fields["release"]
        release.queryset = visible(user, Release).exclude(life__in=UNDEPLOYABLE).order_by("-pk")


class UntilForm(forms.Form):
    """A new end."""

    until = forms.DateTimeField(label="Until")
    reason = reason_field()


class NoticesForm(forms.Form):
    """What the tenants of a rollout are told. On a live page: what is typed is kept."""

    subject = forms.CharField(max_length=200, initial=SUBJECT)
    body = forms.CharField(
        label="Text",
        max_length=10_000,
        initial=BODY,
        widget=forms.Textarea(attrs={"rows": 8}),
        help_text="{tenant}, {version} and {when} are filled in for each",
    )
    reason = reason_field()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"auto_id": "notices-%s", **kwargs})
        for field in self.fields.values():
            field.widget.attrs["data-keep"] = ""


class SourceForm(forms.ModelForm):  # type: ignore[type-arg]
    """A source of metrics; one of the same name is changed."""

    reason = reason_field()

    class Meta:
        model = MetricSource
        fields = ("name", "label", "requests", "errors", "latency", "step_seconds")
        labels = {"step_seconds": "Step (s)", "latency": "Mean latency (s)"}
        help_texts = {"requests": "$instances, $window and $step are filled in"}
        widgets = {name: forms.Textarea(attrs={"rows": 2}) for name in ("requests", "errors", "latency")}

    def __init__(self, data: Any = None, **kwargs: Any) -> None:
        name = (data or {}).get("name", "").strip()
        named = MetricSource.objects.filter(name=name).first() if name else None
        super().__init__(data, instance=named, auto_id="source-%s", **kwargs)


class HoursForm(forms.Form):
    """How long a severity has."""

    severity = forms.ChoiceField(choices=Severity.choices)
    hours = forms.IntegerField(min_value=1, max_value=24 * 366)
    reason = reason_field()


class StepForm(forms.Form):
    """Whom the security clock asks."""

    severity = forms.ChoiceField(choices=[("", "every severity"), *Severity.choices], required=False)
    percent = forms.IntegerField(label="From (% of its time)", min_value=1, max_value=100, initial=50)
    name = forms.CharField(max_length=100, help_text="a person, a role or a channel")
    address = forms.EmailField(help_text="where the letter goes")
    reason = reason_field()


class VexForm(forms.Form):
    """Why a release is not affected."""

    release = forms.ModelChoiceField(Release.objects.none(), required=False, empty_label="every release")
    justification = forms.ChoiceField(choices=VexWhy.choices)
    reason = reason_field()

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        release: Any = self.fields["release"]
        release.queryset = visible(user, Release).order_by("-pk")


class HoldForm(forms.Form):
    """A hold or a pin of a tenant."""

    tenant = forms.CharField(help_text="its key", max_length=63)
    version = forms.CharField(
        label="Pinned to", required=False, max_length=40, help_text="empty: no rollout at all"
    )
    until = forms.DateTimeField(widget=forms.DateTimeInput(attrs={"type": "datetime-local"}))
    reason = reason_field()

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_tenant(self) -> Tenant:
        return tenant_of(self.user, self.cleaned_data["tenant"])


class WindowForm(forms.Form):
    """A weekly maintenance window of a tenant, by its own clock."""

    tenant = forms.CharField(help_text="its key", max_length=63)
    days = forms.TypedMultipleChoiceField(
        label="Days", coerce=int, choices=list(enumerate(DAYS)), widget=forms.CheckboxSelectMultiple
    )
    opens_at = forms.TimeField(
        label="Opens at",
        help_text="by the tenant's clock",
        widget=forms.TimeInput(attrs={"type": "time"}),
    )
    minutes = forms.IntegerField(label="Minutes", min_value=15, max_value=1_440, initial=120)
    lets_security_through = forms.BooleanField(
        label="Security releases do not wait for it", required=False, initial=True
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_tenant(self) -> Tenant:
        return tenant_of(self.user, self.cleaned_data["tenant"])


class ScheduleForm(forms.Form):
    """When a prepared rollout starts by itself; empty: it no longer does."""

    at = forms.DateTimeField(
        label="Starts at", required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )
    reason = reason_field()


def tenant_of(user: Any, key: str) -> Tenant:
    """The tenant of a key that somebody typed; ValidationError where they see none."""
    found: Tenant | None = visible(user, Tenant).filter(key=key.strip()).first()
    if found is None:
        raise forms.ValidationError("There is no such tenant that you can see.")
    return found


class FreezeForm(forms.ModelForm):  # type: ignore[type-arg]
    """A time without rollouts."""

    class Meta:
        model = Freeze
        fields = ("name", "account", "starts_at", "ends_at", "lets_security_through", "reason")
        labels = {
            "starts_at": "From",
            "ends_at": "To",
            "lets_security_through": "Security releases pass",
            "reason": "Why",
        }
        widgets = {
            "starts_at": forms.DateTimeInput(attrs={"type": "datetime-local"}),
            "ends_at": forms.DateTimeInput(attrs={"type": "datetime-local"}),
            "reason": forms.TextInput(attrs={"autocomplete": "off"}),
        }

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        account: Any = self.fields["account"]
        account.queryset, account.empty_label = visible(user, Account).order_by("name"), "everywhere"

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        ends = cleaned.get("ends_at")
        if ends and ends <= timezone.now():
            self.add_error("ends_at", "It would have ended already.")
        return cleaned


class PolicyForm(forms.Form):
    """A limit of the blast radius."""

    scope = forms.ChoiceField(choices=PolicyScope.choices)
    name = forms.CharField(
        required=False,
        max_length=120,
        help_text="of the account, plan or cell; a region as account/eu-west-1",
    )
    measure = forms.ChoiceField(label="Counts", choices=Measure.choices, initial=Measure.INSTANCES)
    max_count = forms.IntegerField(
        label="At most",
        required=False,
        min_value=1,
        max_value=2_000_000_000,
        help_text="so many, or of revenue so much a month",
    )
    max_percent = forms.IntegerField(
        label="or", required=False, min_value=1, max_value=100, help_text="per cent; the lower of both counts"
    )
    currency = forms.CharField(required=False, max_length=3, help_text="of revenue alone, such as EUR")
    reason = reason_field()

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean(self) -> dict[str, Any]:
        """Find what the scope names, and see that a currency stands where revenue counts and nowhere else."""
        cleaned: dict[str, Any] = super().clean() or {}
        cleaned["object_id"] = 0
        if (scope := cleaned.get("scope")) and scope != PolicyScope.FLEET:
            found = scope_object(self.user, scope, cleaned.get("name", "").strip())
            if found is None:
                self.add_error("name", f"There is no such {scope} that you can see.")
            else:
                cleaned["object_id"] = found.pk
        is_revenue = cleaned.get("measure") == Measure.REVENUE
        cleaned["currency"] = cleaned.get("currency", "").strip().upper()
        if is_revenue and len(cleaned["currency"]) != 3:
            self.add_error("currency", "Say in which currency, such as EUR; each has a limit of its own.")
        if not is_revenue and cleaned["currency"]:
            self.add_error("currency", "Only revenue has a currency.")
        if scope == PolicyScope.CELL and cleaned.get("measure") == Measure.CELLS:
            self.add_error("measure", "One cell is one cell: count its instances, tenants or revenue.")
        return cleaned


def scope_object(user: Any, scope: str, name: str) -> Any:
    """The account, region (`account/code`), plan or cell of a name, as the reader sees it; None where there is none."""
    rows = visible(user, SCOPE_MODELS[PolicyScope(scope)])
    if scope != PolicyScope.REGION:
        return rows.filter(name=name).first()
    account, _, code = name.partition("/")
    return rows.filter(account__name=account.strip(), code=code.strip()).first()
