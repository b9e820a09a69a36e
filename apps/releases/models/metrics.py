"""Where a gate's figures come from, when not from the provider: PromQL over a Prometheus."""

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from apps.core.models import BaseModel

REQUESTS = 'sum by (daytwo_instance) (increase(http_requests_total{daytwo_instance=~"$instances"}[$window]))'
ERRORS = 'sum by (daytwo_instance) (increase(http_requests_total{daytwo_instance=~"$instances",code=~"5.."}[$window]))'
LATENCY = (
    'sum by (daytwo_instance) (rate(http_request_duration_seconds_sum{daytwo_instance=~"$instances"}[$step])) / '
    'sum by (daytwo_instance) (rate(http_request_duration_seconds_count{daytwo_instance=~"$instances"}[$step]))'
)


class MetricSource(BaseModel):
    """Three queries that give requests, errors and mean latency (s) for each instance, by the label that names it.

    `$instances` stands for a regular expression of their names, `$window` for the time since the wave bakes, `$step` for
    the time of one measurement of latency. The server is PROMETHEUS_URL.
    """

    name = models.CharField(max_length=60, unique=True)
    label = models.CharField(
        max_length=60,
        default="daytwo_instance",
        validators=[RegexValidator(r"^[a-zA-Z_][a-zA-Z0-9_]*$", "This is no label of Prometheus.")],
        help_text="the label whose value is the instance's name",
    )
    requests = models.TextField(max_length=2_000, default=REQUESTS)
    errors = models.TextField(max_length=2_000, default=ERRORS)
    latency = models.TextField(max_length=2_000, default=LATENCY)
    step_seconds = models.PositiveSmallIntegerField(
        default=60,
        validators=[MinValueValidator(1), MaxValueValidator(600)],
        help_text="of one measurement of latency; at least four times the interval of scraping",
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
