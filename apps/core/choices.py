"""Words of the ground floor."""

from django.db import models


class Tone(models.TextChoices):
    """How a line is to be read: colour, shape and word follow from it."""

    PLAIN = "plain", "Plain"
    OK = "ok", "Good"
    WARN = "warn", "Warning"
    BAD = "bad", "Bad"
    BUSY = "busy", "Under way"
