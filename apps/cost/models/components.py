"""Which part of the product a cost belongs to."""

from django.core.exceptions import ValidationError
from django.db import models

from apps.core.models import BaseModel


class ProductComponent(BaseModel):
    """A part of the product, and the costs that are it: of a service, in a sub-account, taken by a rule over a tag.

    Empty is any. The first in order that fits a cost names its component; a cost that none fits is a component by
    its service's name.
    """

    name = models.CharField(max_length=60)
    position = models.PositiveSmallIntegerField(default=1, help_text="the first that fits a cost counts")
    service = models.CharField(max_length=120, blank=True, help_text="as the bill names it")
    sub_account = models.CharField(max_length=200, blank=True, help_text="its id on the bill")
    tag = models.CharField(
        max_length=120, blank=True, help_text="of the rule that gave the cost to its tenant"
    )

    class Meta:
        ordering = ["position", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["service", "sub_account", "tag"], name="product_component_once")
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.in_words()}"

    def in_words(self) -> str:
        """Which costs are it."""
        parts = (("service", self.service), ("sub-account", self.sub_account), ("tag", self.tag))
        return ", ".join(f"{word} “{value}”" for word, value in parts if value)

    def clean(self) -> None:
        """Raises ValidationError where it would take every cost there is."""
        if not (self.service or self.sub_account or self.tag):
            raise ValidationError({"service": "Give a service, a sub-account or a tag."})
