"""The list of cells, and one cell."""

from django.http import HttpRequest, HttpResponse

from apps.access.listing import render_list
from apps.access.views_base import needs
from apps.core.answers import answer

from ..filters import CellFilter
from ..panels import cell_panels
from ..queries.cells import cell_page, draw_cell, listed_cells, wrong_in
from ..queries.instances import timeline
from ..tables import CellTable


@needs("view")
def cell_list(request: HttpRequest) -> HttpResponse:
    """All cells the reader sees."""
    return render_list(
        request,
        page="fleet:cells",
        title="Cells",
        queryset=listed_cells(request.user),
        table_class=CellTable,
        filter_class=CellFilter,
        context={"noun": "cell", "live": 10},
    )


@needs("view")
def cell(request: HttpRequest, pk: int) -> HttpResponse:
    """How full it is, how well, on which versions, what happened; its live part to an HTMX request."""
    found = cell_page(request.user, pk)
    context = {
        "cell": found,
        "row": draw_cell(request.user, found),
        "wrong": wrong_in(request.user, found) if found.board.wrong else [],
        **cell_panels(found),
        "events": timeline(request.user, limit=20, cell_id=pk),
    }
    return answer(request, "fleet/cell.html", "live", context)
