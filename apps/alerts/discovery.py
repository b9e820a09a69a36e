"""Service discovery: Prometheus asks here what there is to scrape, so that nobody writes it down."""

from typing import Any
from urllib.parse import urlsplit

from apps.fleet.choices import Wanted
from apps.fleet.models import Instance

from .models import Source


def targets(source: Source) -> list[dict[str, Any]]:
    """The instances with an address that are to run, in http_sd's form; a source of one account gets that account's.

    Format: https://prometheus.io/docs/prometheus/latest/http_sd/. One query.
    """
    rows = Instance.objects.filter(wanted=Wanted.RUNNING).exclude(endpoint="").order_by("pk")
    if source.account_id is not None:
        rows = rows.filter(cell__region__account_id=source.account_id)
    found = rows.values_list(
        "name", "endpoint", "version", "cell__name", "cell__region__code", "cell__region__account__name"
    )
    return [_target(*row) for row in found]


def _target(name: str, endpoint: str, version: str, cell: str, region: str, account: str) -> dict[str, Any]:
    at = urlsplit(endpoint)
    return {
        "targets": [at.netloc],
        "labels": {
            "__scheme__": at.scheme or "https",
            "daytwo_instance": name,
            "daytwo_version": version,
            "daytwo_cell": cell,
            "daytwo_region": region,
            "daytwo_account": account,
        },
    }
