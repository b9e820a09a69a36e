"""The first page."""

from django.http import HttpRequest, HttpResponse

from apps.access.views_base import needs
from apps.core.answers import answer

from .. import notices
from ..panels import board_links, empty_fleet, overview_kpis
from ..queries.overview import BOARDS, overview, recent_events
from ..queries.wrong import wrong_now


@needs("view")
def fleet_overview(request: HttpRequest) -> HttpResponse:
    """How the fleet is now; its live part to an HTMX request."""
    page = overview(request.user, request.GET.get("by", "cell"))
    context = {
        "page": page,
        "notices": notices.now(request.user),
        "wrong": wrong_now(request.user, page),
        "events": recent_events(request.user),
        "kpis": overview_kpis(page),
        "board_title": BOARDS[page.by],
        "board_links": board_links(page.by),
        **empty_fleet(request.user),
    }
    return answer(request, "fleet/overview.html", "live", context)
