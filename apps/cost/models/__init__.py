"""Bills and what became of them: statements, runs of the allocation, facts; rules, usage, rates."""

from .bills import DIGITS, Bill, Statement, SubAccount
from .earning import Rate, Usage
from .facts import DailyCost, DayCost, MonthlyCost, Run
from .rules import Rule, RuleSet

__all__ = [
    "DIGITS", "Bill", "DailyCost", "DayCost", "MonthlyCost", "Rate", "Rule", "RuleSet", "Run", "Statement", "SubAccount", "Usage",
]  # fmt: skip
