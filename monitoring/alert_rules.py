"""Rules of alerts: data, one class a kind, and what each says of one reading. States are in `monitoring.alerts`."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, get_args

from msgspec import Meta, Struct

__all__ = [
    "DEFAULT_RULES",
    "LATENCY_TARGETS_MS",
    "Absence",
    "AnyRule",
    "Avatar",
    "Change",
    "Drift",
    "Reading",
    "Rule",
    "SampleRatio",
    "SloBurn",
    "Staleness",
    "Starvation",
    "Threshold",
]

Seconds = Annotated[float, Meta(ge=0, le=31_536_000)]
Window = Annotated[float, Meta(ge=60, le=2_592_000, description="seconds")]
Severity = Literal["page", "ticket", "info"]
# How many decisions took longer is counted for these, minute by minute.
LatencyTarget = Literal[1, 2, 5, 10, 20, 50, 100, 200, 300, 500, 1000, 2000, 5000, 10_000]
LATENCY_TARGETS_MS: Final[tuple[int, ...]] = get_args(LatencyTarget)
Metric = Literal[
    "decisions_per_s",
    "fallback_share",
    "rejected_share",
    "reward_rate",
    # Of closed windows of five minutes: `app.integrity`.
    "overdue_share",
    "repeated_share",
    "unit_concentration",
    # Of the newest closed window's data: `monitoring.data_quality`.
    "missing_share",
    "unseen_share",
    "invalid_share",
    "out_of_range_share",
    "late_share",
    "duplicate_share",
    "unmatched_share",
    "empty_list_share",
    "short_list_share",
    "unknown_item_share",
    "silent_share",
]


class Reading(Struct, frozen=True, kw_only=True):
    """What was measured for one label set."""

    labels: Mapping[str, str] = {}
    value: float | None = None  # None: no data, and `detail` says why
    sample: float = 0.0  # how much the value rests on, in the units of the rule's `min_sample`
    interval: tuple[float, float] | None = None  # of a change
    detail: str = ""


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every kind has."""

    severity: Severity = "ticket"
    for_s: Seconds = 0.0  # how long the condition must hold before the alert fires
    keep_firing_for_s: Seconds = 0.0  # how long it must not hold before the alert is resolved
    min_sample: Annotated[float, Meta(ge=0, le=1e12)] = 0.0
    enabled: bool = True
    summary: Annotated[str, Meta(max_length=1000)] = ""

    def holds(self, reading: Reading, *, firing: bool) -> bool:
        """Whether the condition is true of a reading with a value; `firing` asks whether it is still."""
        raise NotImplementedError


class Threshold(Rule, frozen=True, kw_only=True, tag="threshold"):
    """A figure is above or below a limit. `clear_at` (hysteresis) is the limit of an alert that fires.

    Figures of the data are those of the newest closed window, whatever `window_s` is.
    """

    metric: Metric
    comparison: Literal["above", "below"] = "above"
    value: float
    clear_at: float | None = None
    window_s: Window = 900.0

    def __post_init__(self) -> None:
        if self.clear_at is not None and not self._beyond(self.value, self.clear_at, or_equal=True):
            raise ValueError(f"clear_at={self.clear_at:g} must be on the quiet side of value={self.value:g}")

    def holds(self, reading: Reading, *, firing: bool) -> bool:
        """See `Rule.holds`."""
        limit = self.clear_at if firing and self.clear_at is not None else self.value
        return reading.value is not None and self._beyond(reading.value, limit)

    def _beyond(self, value: float, limit: float, *, or_equal: bool = False) -> bool:
        if or_equal and value == limit:
            return True
        return value > limit if self.comparison == "above" else value < limit


class Change(Rule, frozen=True, kw_only=True, tag="change"):
    """A figure differs from that of the window before: by enough to matter, and too much for chance.

    The reading's value is (now − reference) ÷ |reference|, its interval that of now − reference. A reward rate must
    differ from that of the same hours a season before, too, where there are enough rewards to compare with, so that
    what happens every day is no change.
    """

    metric: Literal["reward_rate", "unit_concentration"] = "reward_rate"
    direction: Literal["any", "up", "down"] = "any"
    at_least: Annotated[float, Meta(ge=0)] = 0.2  # relative
    level: Annotated[float, Meta(ge=0.5, lt=1)] = 0.999
    window_s: Window = 3600.0
    reference_s: Window = 86_400.0
    season_s: Annotated[float, Meta(ge=0, le=86_400)] = 86_400.0  # 0: there is none; hours are not known for longer

    def holds(self, reading: Reading, *, firing: bool) -> bool:
        """See `Rule.holds`."""
        if reading.value is None or reading.interval is None:
            return False
        lower, upper = reading.interval
        enough = abs(reading.value) >= self.at_least / (2 if firing else 1)
        up, down = lower > 0 and self.direction != "down", upper < 0 and self.direction != "up"
        return enough and (up or down)


class Drift(Rule, frozen=True, kw_only=True, tag="drift"):
    """The context, or any one feature, has drifted in some closed windows in a row.

    Of the dataset the value is the smallest share of drifted features in these windows. Of features, each an alert of
    its own, it is the number of windows in a row, up to the newest, in which the feature has drifted.
    """

    of: Literal["dataset", "features"] = "dataset"
    at_least: Annotated[float, Meta(gt=0, le=1)] = 0.5
    windows: Annotated[int, Meta(ge=1, le=100)] = 2
    alpha: Annotated[float, Meta(gt=0, le=0.05, description="Largest adjusted p that counts")] = 0.01

    def holds(self, reading: Reading, *, firing: bool) -> bool:  # noqa: ARG002 - no hysteresis: windows are closed
        """See `Rule.holds`."""
        limit = self.at_least if self.of == "dataset" else self.windows
        return reading.value is not None and reading.value >= limit


class SampleRatio(Rule, frozen=True, kw_only=True, tag="sample_ratio"):
    """Arms were not exposed as often as planned: the statistic of `bandits.sample_ratio` is above 1."""

    alpha: Annotated[float, Meta(gt=0, lt=1)] = 0.001

    def holds(self, reading: Reading, *, firing: bool) -> bool:  # noqa: ARG002 - a sequence needs no hysteresis
        """See `Rule.holds`."""
        return reading.value is not None and reading.value > 1


class Starvation(Rule, frozen=True, kw_only=True, tag="starvation"):
    """An arm gets less than this part of its floor. The sample is what the floor alone would give it."""

    below: Annotated[float, Meta(gt=0, le=1)] = 0.5
    window_s: Window = 3600.0

    def holds(self, reading: Reading, *, firing: bool) -> bool:
        """See `Rule.holds`."""
        return reading.value is not None and reading.value < self.below * (1.25 if firing else 1)


class Absence(Rule, frozen=True, kw_only=True, tag="absence"):
    """Nothing comes that should. The value is how many came; the sample, what makes one expect some."""

    of: Literal["decisions", "feedback", "looks"]
    window_s: Window = 900.0

    def holds(self, reading: Reading, *, firing: bool) -> bool:  # noqa: ARG002 - the first one that comes clears it
        """See `Rule.holds`."""
        return reading.value == 0


class Staleness(Rule, frozen=True, kw_only=True, tag="staleness"):
    """The allocation is older than this though there is new evidence."""

    max_age_s: Seconds = 60.0

    def holds(self, reading: Reading, *, firing: bool) -> bool:  # noqa: ARG002 - a new allocation clears it
        """See `Rule.holds`."""
        return reading.value is not None and reading.value > self.max_age_s


class SloBurn(Rule, frozen=True, kw_only=True, tag="slo_burn"):
    """The error budget is spent `factor` times too fast, over a long window and over a short one.

    Failures are decisions answered by a fallback (`of: answers`), or those that took longer than `target_ms`.
    The value is the smaller of the two burn rates, failures ÷ events ÷ (1 − objective). The short window makes the
    alert end soon after its cause (Google, The Site Reliability Workbook, chapter 5). `min_sample` is events of the
    long window.
    """

    of: Literal["answers", "latency"] = "answers"
    target_ms: LatencyTarget = 100
    objective: Annotated[float, Meta(gt=0, lt=1)] = 0.999
    factor: Annotated[float, Meta(gt=0, le=1e6)]
    window_s: Window
    short_window_s: Window

    def __post_init__(self) -> None:
        if not self.short_window_s < self.window_s:
            raise ValueError(f"short_window_s={self.short_window_s:g} must be less than window_s={self.window_s:g}")

    def holds(self, reading: Reading, *, firing: bool) -> bool:  # noqa: ARG002 - the short window is the hysteresis
        """See `Rule.holds`."""
        return reading.value is not None and reading.value > self.factor


class Avatar(Rule, frozen=True, kw_only=True, tag="avatar"):
    """An avatar's lists are not as expected. The value is the number of looks in a row with a fault."""

    looks: Annotated[int, Meta(ge=1, le=1000)] = 1

    def holds(self, reading: Reading, *, firing: bool) -> bool:
        """See `Rule.holds`."""
        return reading.value is not None and reading.value >= (1 if firing else self.looks)


AnyRule = Threshold | Change | Drift | SampleRatio | Starvation | Absence | Staleness | SloBurn | Avatar

# Every experiment has these. A stored rule with the same key replaces one.
DEFAULT_RULES: Final[Mapping[str, AnyRule]] = {
    "availability-page-fast": SloBurn(
        severity="page", factor=14.4, window_s=3600, short_window_s=300, min_sample=500,
        summary="Fallbacks use up the error budget of a month in two days",
    ),
    "availability-page-slow": SloBurn(
        severity="page", factor=6, window_s=6 * 3600, short_window_s=1800, min_sample=500,
        summary="Fallbacks use up the error budget of a month in five days",
    ),
    "availability-ticket": SloBurn(
        factor=1, window_s=3 * 86_400, short_window_s=6 * 3600, min_sample=500,
        summary="Fallbacks use up the error budget of a month before it is over",
    ),
    "avatar": Avatar(
        min_sample=1, summary="A list that an avatar was given is not as expected",
    ),
    "busy-units": Change(
        metric="unit_concentration", direction="up", at_least=1.0, level=0.9999, window_s=900, for_s=300,
        keep_firing_for_s=900, min_sample=300,
        summary="A few units ask for much more than before: bots, or a client that loops",
    ),
    "drift": Drift(
        min_sample=50, summary="Half of the context's features have drifted",
    ),
    "empty-lists": Threshold(
        metric="empty_list_share", value=0.05, clear_at=0.03, min_sample=100, summary="Many answers are empty lists",
    ),
    "fallbacks": Threshold(
        metric="fallback_share", value=0.05, clear_at=0.03, window_s=900, for_s=300, min_sample=100,
        summary="Many decisions are answered by a fallback",
    ),
    "feature-drift": Drift(
        of="features", min_sample=50, summary="A feature has drifted: of the context, of scores, or rewards of an arm",
    ),
    "latency-page-fast": SloBurn(
        severity="page", of="latency", objective=0.99, factor=14.4, window_s=3600, short_window_s=300, min_sample=500,
        summary="Slow decisions use up the error budget of a month in two days",
    ),
    "latency-page-slow": SloBurn(
        severity="page", of="latency", objective=0.99, factor=6, window_s=6 * 3600, short_window_s=1800,
        min_sample=500, summary="Slow decisions use up the error budget of a month in five days",
    ),
    "latency-ticket": SloBurn(
        of="latency", objective=0.99, factor=1, window_s=3 * 86_400, short_window_s=6 * 3600, min_sample=500,
        summary="Slow decisions use up the error budget of a month before it is over",
    ),
    "no-decisions": Absence(
        severity="page", of="decisions", for_s=300, min_sample=1000,
        summary="No decision is asked for, though there were some in the day before",
    ),
    "no-feedback": Absence(
        severity="page", of="feedback", window_s=3600, for_s=300, min_sample=1000,
        summary="Exposures come, and no feedback",
    ),
    "no-looks": Absence(
        of="looks", window_s=3600, min_sample=3, summary="Avatars are not looked at",
    ),
    "overdue-feedback": Threshold(
        metric="overdue_share", value=0.1, clear_at=0.05, window_s=900, for_s=300, min_sample=50,
        summary="Rewards come after their attribution window, when the learner has counted them as missing",
    ),
    "quarantine": Threshold(
        metric="rejected_share", value=0.05, clear_at=0.03, window_s=3600, for_s=300, min_sample=100,
        summary="Many events cannot be used and go to quarantine",
    ),
    "repeated-feedback": Threshold(
        metric="repeated_share", value=0.1, clear_at=0.05, window_s=900, for_s=300, min_sample=50,
        summary="Events are sent again under another event_id, so that sums count them twice",
    ),
    "reward-change": Change(
        direction="down", for_s=600, keep_firing_for_s=1800, min_sample=1000, summary="The reward rate has fallen",
    ),
    "sample-ratio": SampleRatio(
        severity="page", keep_firing_for_s=3600, summary="Arms are not exposed as often as planned: trust no figure",
    ),
    "stale-allocation": Staleness(
        severity="page", for_s=60, summary="The learner does not keep up with new evidence",
    ),
    "starvation": Starvation(
        for_s=900, keep_firing_for_s=900, min_sample=50, summary="An arm gets less than its floor",
    ),
    "unknown-items": Threshold(
        metric="unknown_item_share", value=0.05, clear_at=0.03, min_sample=100,
        summary="Lists show items that the catalogue does not have",
    ),
    "unseen-categories": Threshold(
        metric="unseen_share", value=0.05, clear_at=0.03, min_sample=100,
        summary="A feature of the context has values that the days before did not have",
    ),
}  # fmt: skip
