"""Bills and what became of them: statements, runs of the allocation, facts; rules, usage, rates."""

from .bills import DIGITS, Bill, Statement, SubAccount
from .components import ProductComponent
from .earning import MonthlyUsage, Rate, Usage
from .expected import ExpectedMonth, ExpectedRevenue, InputChange
from .facts import CostSeries, DailyCost, DayCost, MonthlyCost, Run, TenantCost
from .instances import InstanceCost, InstanceDay
from .pricing import Commitment, Discount, Price, Revenue
from .rules import Rule, RuleSet
from .sources import BillSource
from .watching import Anomaly, Budget

__all__ = [
    "DIGITS",
    "Anomaly",
    "Bill",
    "BillSource",
    "Budget",
    "Commitment",
    "CostSeries",
    "DailyCost",
    "DayCost",
    "Discount",
    "ExpectedMonth",
    "ExpectedRevenue",
    "InputChange",
    "InstanceCost",
    "InstanceDay",
    "MonthlyCost",
    "MonthlyUsage",
    "Price",
    "ProductComponent",
    "Rate",
    "Revenue",
    "Rule",
    "RuleSet",
    "Run",
    "Statement",
    "SubAccount",
    "TenantCost",
    "Usage",
]  # fmt: skip
