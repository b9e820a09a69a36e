"""What customers are told of an incident: drafts, which people send by the company's own ways."""

from django.conf import settings
from django.db import models

from apps.core.models import BaseModel

from ..choices import NoticeStage
from .incidents import Incident


class CustomerNotice(BaseModel):
    """One text for the affected customers, written from what is known and changed by people before it is sent."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="customer_notices")
    stage = models.CharField(max_length=13, choices=NoticeStage.choices)
    subject = models.CharField(max_length=200)
    body = models.TextField(max_length=5_000)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.subject
