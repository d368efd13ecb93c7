"""What another policy would have earned: reads logs with propensities, evaluates targets, and reports."""

from app.evaluation.columns import Columns
from app.evaluation.reading import read_log
from app.evaluation.report import EvaluationReport, report
from app.evaluation.targets import target_of

__all__ = ["Columns", "EvaluationReport", "read_log", "report", "target_of"]
