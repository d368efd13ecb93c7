"""What operators read: the arms' statistics, allocations over time, and the explanation of one decision."""

from app.reports.arms import arms_report
from app.reports.history import explain, history_page
from app.reports.shapes import ArmReport, ArmShares, ArmsReport, Lift, Outcomes, SampleRatioReport

__all__ = [
    "ArmReport",
    "ArmShares",
    "ArmsReport",
    "Lift",
    "Outcomes",
    "SampleRatioReport",
    "arms_report",
    "explain",
    "history_page",
]
