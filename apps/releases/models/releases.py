"""A release: its artifacts and what it is made of."""

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models

from apps.core.models import BaseModel

from ..choices import Life, ReleaseKind, SbomFormat, Severity

version_validator = RegexValidator(
    r"^[A-Za-z0-9._+-]{1,40}$",
    "A version has at most 40 letters, digits, dots, hyphens, underscores or plus signs.",
)
sha256_validator = RegexValidator(
    r"^[0-9a-f]{64}$", "A SHA-256 digest is 64 hexadecimal digits in lower case."
)
cve_validator = RegexValidator(r"^CVE-\d{4}-\d{4,}$", "A CVE reads CVE-2026-12345.")


class Release(BaseModel):
    """One version of the product. An instance runs it when its version reads the same."""

    version = models.CharField(max_length=40, unique=True, validators=[version_validator])
    kind = models.CharField(max_length=10, choices=ReleaseKind.choices, default=ReleaseKind.FEATURE)
    severity = models.CharField(
        max_length=10, choices=Severity.choices, default=Severity.NONE, help_text="of what it mends"
    )
    life = models.CharField(max_length=10, choices=Life.choices, default=Life.DRAFT)
    life_since = models.DateTimeField(auto_now_add=True)
    released_at = models.DateTimeField(null=True, blank=True, editable=False)
    notes = models.TextField(blank=True)
    cves = ArrayField(
        models.CharField(max_length=30, validators=[cve_validator]),
        default=list,
        blank=True,
        help_text="CVEs that it mends",
    )
    sbom_format = models.CharField(max_length=10, choices=SbomFormat.choices, blank=True, editable=False)
    sbom_sha256 = models.CharField(max_length=64, blank=True, editable=False, validators=[sha256_validator])
    sbom_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["life"], condition=models.Q(life=Life.PREFERRED), name="release_one_preferred"
            )
        ]
        indexes = [models.Index(fields=["-created_at", "-id"], name="release_newest")]

    def __str__(self) -> str:
        return self.version


class Artifact(BaseModel):
    """A file of a release, by its digest; signed or not."""

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="artifacts")
    name = models.CharField(max_length=200)
    uri = models.CharField(max_length=500, blank=True)
    sha256 = models.CharField(max_length=64, validators=[sha256_validator])
    signature = models.CharField(
        max_length=100, blank=True, help_text="Ed25519 over the digest's hexadecimal text, in base64"
    )

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["release", "name"], name="artifact_name_once")]

    def __str__(self) -> str:
        return f"{self.name} of {self.release_id}"


class Component(models.Model):
    """One version of a package that is in some release. `package` is its purl without version."""

    AUDIT_EXEMPT = "read from an SBOM, whose upload is recorded on its release"

    id = models.BigAutoField(primary_key=True)
    package = models.CharField(max_length=400)
    version = models.CharField(max_length=120)

    class Meta:
        ordering = ["package", "version"]
        constraints = [models.UniqueConstraint(fields=["package", "version"], name="component_once")]

    def __str__(self) -> str:
        return f"{self.package}@{self.version}"


class ReleaseComponent(models.Model):
    """A component in a release."""

    AUDIT_EXEMPT = "read from an SBOM, whose upload is recorded on its release"

    id = models.BigAutoField(primary_key=True)
    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="contents")
    component = models.ForeignKey(Component, on_delete=models.PROTECT, related_name="uses")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["release", "component"], name="release_component_once")
        ]

    def __str__(self) -> str:
        return f"component {self.component_id} in release {self.release_id}"
