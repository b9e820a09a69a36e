"""A page's rows as CSV or as an Excel workbook: every digit, plain sums as formulas, each export in the trail."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter

from apps.access.choices import Permission
from apps.access.listing import record_export, safe_cell
from apps.access.scoping import holds

from .models import DailyCost

#: Excel holds no more.
MOST_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Sheet:
    """Columns, and rows of the same length. Amounts are Decimals beside a column with their currency."""

    columns: Sequence[str]
    rows: Iterable[Sequence[Any]]


def asked_for(request: HttpRequest) -> str:
    """`csv`, `xlsx` or nothing."""
    form = request.GET.get("_export", "")
    return form if form in ("csv", "xlsx") else ""


def export(request: HttpRequest, page: str, sheet: Sheet) -> HttpResponse:
    """The sheet in the form that was asked for. Raises PermissionDenied for who may not export."""
    form = asked_for(request)
    may_export(request, page, form.upper())
    data, content_type = _as_csv(sheet) if form == "csv" else _as_xlsx(sheet)
    name = f"{page.replace(':', '-')}-{timezone.now():%Y%m%d-%H%M}.{form}"
    return HttpResponse(
        data, content_type=content_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def may_export(request: HttpRequest, page: str, form: str) -> None:
    """Tell the trail of an export. Raises PermissionDenied for who may not export."""
    if not holds(request.user, Permission.EXPORT):
        raise PermissionDenied("You need the permission “Export lists”; ask whoever manages access.")
    record_export(request, page, DailyCost, form)


def _as_csv(sheet: Sheet) -> tuple[bytes, str]:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(sheet.columns)
    for row in sheet.rows:
        writer.writerow([f"{value:f}" if isinstance(value, Decimal) else _text(value) for value in row])
    return out.getvalue().encode(), "text/csv; charset=utf-8"


def _text(value: Any) -> str:
    """A text that is no formula, without the control characters that no workbook can hold: bills have such."""
    return safe_cell(ILLEGAL_CHARACTERS_RE.sub("", "" if value is None else str(value)))


def _as_xlsx(sheet: Sheet) -> tuple[bytes, str]:
    """One sheet; under each column of amounts its sum, as a formula. Excel keeps fifteen digits of a number."""
    book = Workbook()
    page = book.active
    assert page is not None
    page.append(list(sheet.columns))
    for cell in page[1]:
        cell.font = Font(bold=True)
    sums: set[int] = set()
    last, is_cut = 1, False
    for row in sheet.rows:
        if last > MOST_ROWS:
            is_cut = True
            break
        page.append([value if isinstance(value, Decimal | int | float) else _text(value) for value in row])
        sums |= {place for place, value in enumerate(row, 1) if isinstance(value, Decimal)}
        last += 1
    for place in sums if last > 1 else ():
        letter = get_column_letter(place)
        page[f"{letter}{last + 1}"] = f"=SUM({letter}2:{letter}{last})"
    if is_cut:
        page[f"A{last + 2}"] = (
            f"A workbook holds no more than these {MOST_ROWS:,} rows; the CSV has all of them."
        )
    page.freeze_panes = "A2"
    out = io.BytesIO()
    book.save(out)
    return out.getvalue(), "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
