"""The table of instruments: everything that is measured, and what its figures mean.

Names follow OpenTelemetry's semantic conventions where there is one, units are UCUM. Label sets are bounded: keys of
experiments that exist, of their arms and metrics, and fixed words; never a unit, an item or what a client made up.
"""

from dataclasses import dataclass
from typing import Final, Literal

__all__ = [
    "ACTIVE_REQUESTS",
    "ALERTS_FIRING",
    "ALLOCATION_AGE",
    "ALLOCATION_DATA_AGE",
    "ARM_PROBABILITY_BEST",
    "ARM_PROPENSITY",
    "ARM_REWARD_MEAN",
    "ARM_SHARE",
    "BATCH_PASS",
    "BATCH_SIZE",
    "COMMIT_DURATION",
    "DATABASE_AWAY",
    "DATABASE_OPERATION",
    "DECISIONS",
    "DRIFT_SCORE",
    "EXPOSURES",
    "FEEDBACK",
    "FEEDBACK_DELAY",
    "INSTRUMENTS",
    "LEARNER_PASS",
    "MONITOR_PASS",
    "QUALITY",
    "RECOMMENDER_DURATION",
    "REGRET",
    "REQUEST_DURATION",
    "SPOOL_EVENTS",
    "SPOOL_SIZE",
    "Instrument",
]

_FAST: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_SLOW: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_STATEMENTS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)  # those of the semantic convention
_ROWS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
_DELAYS: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 86_400.0, 604_800.0)


@dataclass(frozen=True, eq=False, slots=True)
class Instrument:
    """One row of the table.

    `merge` says what a scrape makes of a gauge that several processes have: of those alive the largest value, the sum,
    or the newest. A histogram has the upper bounds of its buckets; one more takes what is above the last.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()
    merge: Literal["livemax", "livesum", "livemostrecent"] = "livemax"


REQUEST_DURATION: Final = Instrument(
    "http.server.request.duration",
    "histogram",
    "s",
    ("http.request.method", "http.route", "http.response.status_code"),
    "Duration of HTTP requests.",
    _FAST,
)
ACTIVE_REQUESTS: Final = Instrument(
    "http.server.active_requests", "gauge", "{request}", (), "HTTP requests in progress.", merge="livesum"
)
DECISIONS: Final = Instrument(
    "croupier.decision", "counter", "{decision}", ("experiment", "arm", "reason"), "Decisions answered."
)
FEEDBACK: Final = Instrument(
    "croupier.feedback",
    "counter",
    "{event}",
    ("experiment", "metric", "status"),
    "Feedback answered. Events that fit no decision that is known have no experiment and no metric.",
)
EXPOSURES: Final = Instrument(
    "croupier.exposure",
    "counter",
    "{event}",
    ("experiment", "status"),
    "Confirmations of exposures answered. Those that fit no decision that is known have no experiment.",
)
FEEDBACK_DELAY: Final = Instrument(
    "croupier.feedback.delay",
    "histogram",
    "s",
    ("experiment", "metric"),
    "From the decision to its feedback's arrival.",
    _DELAYS,
)
RECOMMENDER_DURATION: Final = Instrument(
    "croupier.recommender.duration",
    "histogram",
    "s",
    ("experiment", "arm", "outcome"),
    "Duration of what the chosen arm answers with; outcome is answered or fallback.",
    _FAST,
)
BATCH_SIZE: Final = Instrument(
    "croupier.journal.batch.size", "histogram", "{row}", ("log",), "Rows in one group commit.", _ROWS
)
COMMIT_DURATION: Final = Instrument(
    "croupier.journal.commit.duration",
    "histogram",
    "s",
    ("log", "outcome"),
    "Duration of a group commit; outcome is committed or failed.",
    _FAST,
)
SPOOL_EVENTS: Final = Instrument(
    "croupier.spool.events", "counter", "{row}", ("log", "action"), "Rows that went to the spool or were replayed."
)
SPOOL_SIZE: Final = Instrument("croupier.spool.size", "gauge", "By", (), "Size of the spool's files.")
DATABASE_AWAY: Final = Instrument(
    "croupier.database.away", "gauge", "{worker}", (), "1 while any web worker believes the database away."
)
DATABASE_OPERATION: Final = Instrument(
    "db.client.operation.duration",
    "histogram",
    "s",
    ("db.system.name", "db.operation.name", "db.collection.name", "error.type"),
    "Duration of statements outside the path of a request, and of group commits.",
    _STATEMENTS,
)
ALERTS_FIRING: Final = Instrument(
    "croupier.alert.firing",
    "gauge",
    "{alert}",
    ("experiment", "rule", "severity"),
    "Alerts that fire, whether or not they are silenced.",
    merge="livemostrecent",
)
ALLOCATION_AGE: Final = Instrument(
    "croupier.allocation.age", "gauge", "s", (), "Since the web worker last read what it deals from; of the oldest."
)
LEARNER_PASS: Final = Instrument(
    "croupier.learner.pass.duration", "histogram", "s", (), "Duration of a look at every experiment.", _SLOW
)
MONITOR_PASS: Final = Instrument(
    "croupier.monitor.pass.duration", "histogram", "s", (), "Duration of a round of housekeeping.", _SLOW
)
ALLOCATION_DATA_AGE: Final = Instrument(
    "croupier.allocation.data.age",
    "gauge",
    "s",
    ("experiment",),
    "Since the data were read that the allocation in force was made from.",
    merge="livemostrecent",
)
ARM_PROPENSITY: Final = Instrument(
    "croupier.arm.propensity",
    "gauge",
    "1",
    ("experiment", "arm"),
    "Probability of the arm in the allocation in force.",
    merge="livemostrecent",
)
ARM_SHARE: Final = Instrument(
    "croupier.arm.share", "gauge", "1", ("experiment", "arm"), "Share of all exposures.", merge="livemostrecent"
)
ARM_REWARD_MEAN: Final = Instrument(
    "croupier.arm.reward.mean",
    "gauge",
    "1",
    ("experiment", "arm"),
    "Posterior mean of the reward.",
    merge="livemostrecent",
)
ARM_PROBABILITY_BEST: Final = Instrument(
    "croupier.arm.probability_best",
    "gauge",
    "1",
    ("experiment", "arm"),
    "Posterior probability that no other active arm has a larger mean.",
    merge="livemostrecent",
)
REGRET: Final = Instrument(
    "croupier.regret",
    "gauge",
    "{reward}",
    ("experiment",),
    "Estimated reward missed so far: over exposures, the best arm's posterior mean less that of the arm shown.",
    merge="livemostrecent",
)
DRIFT_SCORE: Final = Instrument(
    "croupier.drift.score",
    "gauge",
    "1",
    ("experiment", "feature"),
    "Of the newest closed window: from 1 on the feature has drifted; `dataset` is the share of drifted ones ÷ 0.5.",
    merge="livemostrecent",
)
QUALITY: Final = Instrument(
    "croupier.quality",
    "gauge",
    "1",
    ("experiment", "metric", "arm"),
    "Quality of recommendations on the newest day that is worked out, lists cut at 10; no arm: all together.",
    merge="livemostrecent",
)
BATCH_PASS: Final = Instrument(
    "croupier.batch.pass.duration", "histogram", "s", (), "Duration of a look for days to work out.", _SLOW
)

INSTRUMENTS: Final = tuple(value for value in list(globals().values()) if isinstance(value, Instrument))
