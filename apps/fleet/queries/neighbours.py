"""Which tenant of a shared instance uses what, as the instance tells it since it was started."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from apps.access.scoping import visible

from .. import providers
from ..choices import InstanceKind
from ..models import Instance, Placement
from ..providers.base import ProviderError, Sample
from ..targets import provider_targets

#: What stands for tenants that the reader does not see, and for requests that name none.
OTHERS = "others"
SHOWN = 50


@dataclass(slots=True)
class Usage:
    """What one tenant used since the instance was started; `share` of all the time that requests took."""

    name: str
    tenant_id: int | None = None
    requests: float = 0
    errors: float = 0
    seconds: float = 0
    share: float = 0

    @property
    def error_rate(self) -> float:
        """In per cent."""
        return 100 * self.errors / self.requests if self.requests else 0.0

    @property
    def latency(self) -> float:
        """Mean, in ms."""
        return 1_000 * self.seconds / self.requests if self.requests else 0.0


def neighbours(user: Any, instance: Instance) -> list[Usage]:
    """Usage by tenant, the one that takes most time in front; none for one tenant's own instance, or one that is down."""
    if instance.kind != InstanceKind.SHARED:
        return []
    seen = {
        key: (pk, name)
        for pk, key, name in visible(user, Placement)
        .filter(instance=instance)
        .values_list("tenant_id", "tenant__key", "tenant__name")
    }
    found: list[Usage] = []
    for name, targets in provider_targets([instance.pk]).items():
        try:
            found = by_tenant(providers.get(name).metrics(targets[instance.pk]), seen)
        except (ProviderError, LookupError):
            return []
    return found[:SHOWN]


def by_tenant(samples: Iterable[Sample], seen: dict[str, tuple[int, str]]) -> list[Usage]:
    """Usage by tenant's key; those that are not in `seen` together, so that nobody reads of another."""
    used: dict[str, Usage] = defaultdict(lambda: Usage(OTHERS))
    for sample in samples:
        key = sample.labels.get("tenant")
        if key is None:
            continue
        pk, name = seen.get(key, (None, OTHERS))
        usage = used[key if key in seen else OTHERS]
        usage.tenant_id, usage.name = pk, name
        if sample.name == "http_requests_total":
            usage.requests += sample.value
            usage.errors += sample.value if sample.labels.get("code", "").startswith("5") else 0.0
        elif sample.name == "http_request_duration_seconds_sum":
            usage.seconds += sample.value
    total = sum(u.seconds for u in used.values())
    for usage in used.values():
        usage.share = usage.seconds / total if total else 0.0
    return sorted(used.values(), key=lambda u: -u.seconds)
