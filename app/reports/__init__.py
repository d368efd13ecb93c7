"""What operators read: the arms' statistics, the hierarchy of metrics, allocations over time, decisions explained."""

from app.reports.arms import arms_report
from app.reports.hierarchy import quality_report
from app.reports.hierarchy_shapes import (
    ArmOrderReport,
    ArmValue,
    AssociationReport,
    DayValue,
    EdgeReport,
    NodeReport,
    QualityReport,
    UnitSample,
)
from app.reports.history import explain, history_page
from app.reports.shapes import ArmReport, ArmShares, ArmsReport, Lift, Outcomes, SampleRatioReport

__all__ = [
    "ArmOrderReport",
    "ArmReport",
    "ArmShares",
    "ArmValue",
    "ArmsReport",
    "AssociationReport",
    "DayValue",
    "EdgeReport",
    "Lift",
    "NodeReport",
    "Outcomes",
    "QualityReport",
    "SampleRatioReport",
    "UnitSample",
    "arms_report",
    "explain",
    "history_page",
    "quality_report",
]
