"""How instances and cells are listed."""

from typing import Any

import django_tables2 as tables
from django.template.loader import get_template

from .choices import Health
from .models import Cell, Certificate, Instance
from .queries.certificates import issued_by, problems_of

STATE = {"td": {"class": "state"}}
MAIN = {"td": {"class": "main"}}
NOWRAP = {"td": {"class": "nowrap"}}
RIGHT = {"td": {"class": "r nowrap"}}


def _cell(name: str, **context: Any) -> str:
    """One cell from `templates/fleet/columns.html`."""
    return get_template(f"fleet/columns.html#{name}").render(context)


class InstanceTable(tables.Table):
    """Instances. What sorts is served by an index; tenants are counted for the rows of the page alone."""

    select = tables.CheckBoxColumn(accessor="pk", orderable=False)
    health = tables.Column(verbose_name="Status", order_by=("health", "name"), attrs=STATE)
    name = tables.Column(verbose_name="Instance", attrs=MAIN)
    version = tables.Column(verbose_name="Version", order_by=("version", "name"), empty_values=())
    cell = tables.Column(verbose_name="Cell", accessor="cell__name", orderable=False, attrs=NOWRAP)
    account = tables.Column(verbose_name="Account", accessor="cell__region__account__name", orderable=False)
    kind = tables.Column(verbose_name="Kind", orderable=False)
    tenants = tables.Column(verbose_name="Tenants", accessor="tenant_count", orderable=False, empty_values=())
    health_since = tables.Column(verbose_name="Since", orderable=False, attrs=RIGHT)

    class Meta:
        model = Instance
        fields: tuple[str, ...] = ()
        sequence = (
            "select",
            "health",
            "name",
            "version",
            "tenants",
            "cell",
            "account",
            "kind",
            "health_since",
        )
        order_by = "name"

    def render_health(self, record: Instance) -> str:
        return _cell("status", instance=record, locked=record.locked_reason or record.cell.locked_reason)

    def value_health(self, record: Instance) -> str:
        return Health(record.health).label

    def render_name(self, record: Instance) -> str:
        return _cell("name", instance=record)

    def value_name(self, record: Instance) -> str:
        return record.name

    def render_version(self, record: Instance) -> str:
        return _cell("version", instance=record)

    def value_version(self, record: Instance) -> str:
        return record.version

    def render_tenants(self, record: Any) -> str:
        return _cell("tenants", instance=record)

    def value_tenants(self, record: Any) -> int:
        return int(record.tenant_count)

    def render_cell(self, record: Instance) -> str:
        return _cell("cell", instance=record)

    def value_cell(self, record: Instance) -> str:
        return record.cell.name

    def value_account(self, record: Instance) -> str:
        return record.cell.region.account.name

    def render_account(self, record: Instance) -> str:
        return _cell("account", region=record.cell.region)

    def render_health_since(self, record: Instance) -> str:
        return _cell("since", at=record.health_since)

    def value_health_since(self, record: Instance) -> str:
        return record.health_since.isoformat(timespec="seconds")


class CellTable(tables.Table):
    """Cells; counts are made for the rows of the page alone."""

    name = tables.Column(verbose_name="Cell", attrs=MAIN)
    health = tables.Column(verbose_name="Status", accessor="pk", orderable=False, attrs=STATE)
    used = tables.Column(verbose_name="Used", orderable=False, empty_values=())
    versions = tables.Column(verbose_name="Versions", orderable=False, empty_values=())
    account = tables.Column(
        verbose_name="Account", accessor="region__account__name", order_by=("region__account__name", "name")
    )
    region = tables.Column(verbose_name="Region", accessor="region__code", order_by=("region__code", "name"))
    provider = tables.Column(verbose_name="Provider", orderable=False)

    class Meta:
        model = Cell
        fields: tuple[str, ...] = ()
        sequence = ("name", "health", "used", "versions", "account", "region", "provider")
        order_by = "name"

    def render_name(self, record: Cell) -> str:
        return _cell("cell_name", cell=record)

    def value_name(self, record: Cell) -> str:
        return record.name

    def value_account(self, record: Cell) -> str:
        return record.region.account.name

    def render_health(self, record: Any) -> str:
        return _cell("counts", row=record.board)

    def value_health(self, record: Any) -> str:
        return f"{record.board.counts[Health.WELL]} of {record.board.total} well"

    def render_used(self, record: Any) -> str:
        return _cell("used", cell=record)

    def value_used(self, record: Any) -> str:
        return f"{record.board.total}/{record.capacity}"

    def render_versions(self, record: Any) -> str:
        return _cell("versions", versions=record.versions)

    def value_versions(self, record: Any) -> str:
        return ", ".join(f"{version} ×{count}" for version, count in record.versions)

    def render_account(self, record: Cell) -> str:
        return _cell("account", region=record.region)


class CertificateTable(tables.Table):
    """What instances serve; what sorts is served by an index."""

    problems = tables.Column(verbose_name="Status", accessor="pk", orderable=False, attrs=STATE)
    instance = tables.Column(verbose_name="Instance", orderable=False, attrs={"td": {"class": "main nowrap"}})
    names = tables.Column(verbose_name="For", orderable=False, empty_values=())
    tenants = tables.Column(verbose_name="Serves", accessor="pk", orderable=False)
    key = tables.Column(verbose_name="Key", orderable=False, attrs=NOWRAP)
    issuer = tables.Column(verbose_name="Issuer", orderable=False)
    not_after = tables.Column(verbose_name="Ends", attrs=RIGHT)
    looked_at = tables.Column(verbose_name="Seen", orderable=False, attrs=RIGHT)

    class Meta:
        model = Certificate
        fields: tuple[str, ...] = ()
        sequence = ("problems", "instance", "names", "tenants", "key", "issuer", "not_after", "looked_at")
        order_by = "not_after"

    def render_problems(self, record: Certificate) -> str:
        return _cell("certificate_problems", problems=problems_of(record))

    def value_problems(self, record: Certificate) -> str:
        return ", ".join(words for _, words in problems_of(record))

    def render_instance(self, record: Certificate) -> str:
        return _cell("certificate_instance", row=record)

    def value_instance(self, record: Certificate) -> str:
        return record.instance.name

    def render_names(self, record: Certificate) -> str:
        return ", ".join(record.names[:4]) + (
            f" and {len(record.names) - 4} more" if len(record.names) > 4 else ""
        )

    def value_names(self, record: Certificate) -> str:
        return " ".join(record.names)

    def render_tenants(self, record: Any) -> str:
        return _cell("tenants", instance=record.instance)

    def value_tenants(self, record: Any) -> int:
        return int(record.instance.tenant_count)

    def render_issuer(self, record: Certificate) -> str:
        return issued_by(record)

    def value_issuer(self, record: Certificate) -> str:
        return record.issuer

    def render_not_after(self, record: Certificate) -> str:
        return _cell("since", at=record.not_after)

    def value_not_after(self, record: Certificate) -> str:
        return record.not_after.isoformat(timespec="seconds") if record.not_after else ""

    def render_looked_at(self, record: Certificate) -> str:
        return _cell("since", at=record.looked_at)

    def value_looked_at(self, record: Certificate) -> str:
        return record.looked_at.isoformat(timespec="seconds")
