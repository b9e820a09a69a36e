"""Daily facts that nobody compares any more."""

from django.db.models import Max

from .models import CostSeries, Run


def forget_old_facts() -> int:
    """Delete the daily facts of runs that count no more, but for each current statement's last former run; gives how many series.

    What a former run came to by month stays in `MonthlyCost`, to compare.
    """
    former = Run.objects.filter(is_current=False).order_by()
    last = (
        former.filter(statement__is_current=True).values("statement").annotate(last=Max("pk")).values("last")
    )
    gone = list(former.exclude(pk__in=last).values_list("pk", flat=True))
    rows = CostSeries.objects.filter(run_id__in=gone)
    return rows.delete()[0] if gone else 0
