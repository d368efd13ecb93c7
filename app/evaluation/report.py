"""An evaluation as JSON, and as a table to read."""

from msgspec import Struct
from rich import box
from rich.table import Table

from bandits.estimates import Estimate
from bandits.evaluation import Evaluation
from bandits.log import Log
from bandits.overlap import Overlap

__all__ = ["EstimateReport", "EvaluationReport", "LogReport", "OverlapReport", "notes", "report", "table"]


class LogReport(Struct, frozen=True, kw_only=True):
    """The log, and what its own policy earned."""

    rows: int
    arms: int
    mean: float
    interval: tuple[float, float]


class OverlapReport(Struct, frozen=True, kw_only=True):
    """How much of the log speaks about the target; see `bandits.overlap.Overlap`."""

    effective_sample_size: float
    max_weight: float
    mean_weight: float
    zero_weight_share: float
    unsupported: dict[str, float]
    rewarded: int


class EstimateReport(Struct, frozen=True, kw_only=True):
    """One estimator's answer; see `bandits.estimates.Estimate`."""

    value: float
    standard_error: float
    interval: tuple[float, float]
    effective_sample_size: float | None
    max_weight: float | None


class EvaluationReport(Struct, frozen=True, kw_only=True):
    """What a log says about a target. An estimate that cannot be given honestly is null, with the reason."""

    target: str
    level: float
    log: LogReport
    overlap: OverlapReport
    estimates: dict[str, EstimateReport | None]
    warnings: tuple[str, ...]
    unavailable: dict[str, str]


def report(log: Log, evaluation: Evaluation) -> EvaluationReport:
    """The evaluation, fit for JSON."""
    logged = evaluation.logged
    return EvaluationReport(
        target=evaluation.target,
        level=logged.level,
        log=LogReport(rows=log.n, arms=log.n_arms, mean=logged.value, interval=logged.interval),
        overlap=_overlap(evaluation.overlap),
        estimates={
            name: _estimate(answer) if isinstance(answer, Estimate) else None
            for name, answer in evaluation.estimates.items()
        },
        warnings=evaluation.warnings,
        unavailable={
            f"#/estimates/{name}": "; ".join(answer.reasons)
            for name, answer in evaluation.estimates.items()
            if not isinstance(answer, Estimate)
        },
    )


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


def _overlap(overlap: Overlap) -> OverlapReport:
    return OverlapReport(
        effective_sample_size=overlap.effective_sample_size,
        max_weight=overlap.max_weight,
        mean_weight=overlap.mean_weight,
        zero_weight_share=overlap.zero_weight_share,
        unsupported=dict(overlap.unsupported),
        rewarded=overlap.rewarded,
    )


def _estimate(estimate: Estimate) -> EstimateReport:
    return EstimateReport(
        value=estimate.value,
        standard_error=estimate.standard_error,
        interval=estimate.interval,
        effective_sample_size=estimate.effective_sample_size,
        max_weight=estimate.max_weight,
    )


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
