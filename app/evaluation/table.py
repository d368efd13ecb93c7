"""An evaluation as a table to read."""

from rich import box
from rich.table import Table

from app.evaluation.report import EstimateReport, EvaluationReport

__all__ = ["notes", "table"]


def table(answer: EvaluationReport) -> Table:
    """A row for the log itself and one for each estimator."""
    drawn = Table(
        title=f"Mean reward of {answer.target}",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        collapse_padding=True,
        pad_edge=False,
    )
    drawn.add_column("estimator", no_wrap=True)
    for heading in ("value", "error", f"{100 * answer.level:.4g} % from", "to", "rows worth", "max weight"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    log = answer.log
    drawn.add_row("(the log)", _number(log.mean), "", *map(_number, log.interval), f"{log.rows:,}", "")
    for name, estimate in answer.estimates.items():
        drawn.add_row(name, *_cells(estimate))
    return drawn


def notes(answer: EvaluationReport) -> list[str]:
    """Warnings, and why estimates are missing; each reason once."""
    reasons = dict.fromkeys(answer.unavailable.values())
    return [*(f"No estimate: {reason}" for reason in reasons), *(f"Doubtful: {doubt}" for doubt in answer.warnings)]


def _cells(estimate: EstimateReport | None) -> list[str]:
    if estimate is None:
        return ["–"] * 6
    worth = estimate.effective_sample_size
    return [
        _number(estimate.value),
        _number(estimate.standard_error),
        *map(_number, estimate.interval),
        "–" if worth is None else f"{worth:,.0f}",
        _number(estimate.max_weight),
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4g}"
