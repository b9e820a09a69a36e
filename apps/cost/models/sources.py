"""Where bills are fetched from by themselves."""

from typing import ClassVar

from django.core.exceptions import ValidationError
from django.db import models

from apps.core.models import BaseModel


class BillSource(BaseModel):
    """An address in object storage that is looked at again and again; it never holds a credential.

    `seen` maps each delivery there to the objects' tags when it was taken in; one that changed is taken in anew.
    """

    url = models.CharField(max_length=500, unique=True, help_text="as s3://bucket/folder/")
    looked_at = models.DateTimeField(null=True, blank=True, editable=False)
    error = models.CharField(max_length=500, blank=True, editable=False)
    seen = models.JSONField(default=dict, blank=True, editable=False)

    AUDIT_EXCLUDE: ClassVar[tuple[str, ...]] = ("updated_at", "created_at", "looked_at", "error", "seen")

    class Meta:
        ordering = ["url"]

    def __str__(self) -> str:
        return self.url

    def clean(self) -> None:
        """Raises ValidationError for what is no address in object storage."""
        from .. import buckets, store

        try:
            buckets.parse(self.url)
        except store.Unusable as error:
            raise ValidationError({"url": str(error)}) from error
