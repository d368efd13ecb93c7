"""An evaluation as JSON."""

from msgspec import Struct

from bandits.estimates import Estimate
from bandits.evaluation import Evaluation
from bandits.log import Log
from bandits.overlap import Overlap

__all__ = ["EstimateReport", "EvaluationReport", "LogReport", "OverlapReport", "report"]


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
