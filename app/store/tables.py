"""The tables. Migrations build them; `tests/app/store/test_migrations.py` holds the two against each other."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

__all__ = [
    "PARTITIONED",
    "alert_channels",
    "alert_deliveries",
    "alert_flips",
    "alert_rules",
    "alert_silences",
    "alerts",
    "allocations",
    "api_keys",
    "arm_statistics",
    "arms",
    "audit_log",
    "avatar_looks",
    "avatars",
    "catalogue",
    "contracts",
    "decision_counts",
    "decisions",
    "drift_results",
    "erased_units",
    "experiments",
    "exposures",
    "feedback",
    "item_rewards",
    "items",
    "log_in_failures",
    "metadata",
    "metric_values",
    "operator_sessions",
    "operators",
    "outcomes",
    "quarantine",
    "unit_exposures",
    "unmatched_exposures",
    "unmatched_feedback",
]

metadata = sa.MetaData()

# Partitioned by range of the decision id itself: a UUIDv7 sorts by time, so a UTC day is one partition, the primary
# key needs no extra column, and feedback finds its partition from the id alone.
PARTITIONED = ("decisions", "exposures", "feedback", "outcomes")
_BY_ID = "RANGE (decision_id)"


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), nullable=nullable)


def _moment_now(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), nullable=False, server_default=sa.func.now())


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable)


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=True)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _sum(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=False, server_default="0")


def _scores() -> tuple[sa.Column[float], ...]:
    """What rows of allocation 0 keep of the allocations that were folded into them: see app/store/scores.py."""
    names = ("eligible", "score", "score_squares", "paired", "contrast", "contrast_squares")
    return tuple(_sum(name) for name in names)


def _repeated() -> sa.Column[bool]:
    """Whether it is about units that had been given an arm in the epoch before: then the choice was no new draw."""
    return sa.Column("repeated", sa.Boolean, primary_key=True, server_default=sa.false())


experiments = sa.Table(
    "experiments",
    metadata,
    _key("key"),
    sa.Column("specification", JSONB, nullable=False),
    _text("state"),
    _number("version"),  # counts every change; the ETag
    _number("epoch"),  # counts the changes after which exposures are not comparable (app/specification/changes.py)
    _number("allocation"),  # number of the allocation in force
    sa.Column("salt", sa.LargeBinary, nullable=False),  # of the choosing hashes: nobody outside can aim at an arm
    _moment_now("created_at"),
    _moment_now("updated_at"),
)

# What the feedback about an epoch's decisions is judged by: its reward, and all metrics that were declared during it.
contracts = sa.Table(
    "contracts",
    metadata,
    sa.Column("experiment", sa.Text, sa.ForeignKey("experiments.key"), primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("contract", JSONB, nullable=False),
)

arms = sa.Table(
    "arms",
    metadata,
    sa.Column("experiment", sa.Text, sa.ForeignKey("experiments.key"), primary_key=True),
    _key("key"),
    _number("position"),
    _number("version"),  # counts the changes of its recommender
    _number("since_epoch"),  # outcomes of earlier epochs say nothing of this version, so it does not learn from them
    _text("state"),
    sa.Column("specification", JSONB, nullable=False),
)

allocations = sa.Table(
    "allocations",
    metadata,
    sa.Column("experiment", sa.Text, sa.ForeignKey("experiments.key"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    _number("version"),
    _number("epoch"),
    _text("reason"),
    sa.Column("probabilities", JSONB, nullable=False),
    sa.Column("posterior", JSONB, nullable=False),
    sa.Column("evidence", JSONB, nullable=False),  # n, sum and sum of squares by arm that it was made from
    _moment("data_as_of"),
    _moment_now("created_at"),
    sa.Column("shadow", JSONB(none_as_null=True), nullable=True),  # the shadow policy as declared, and what it gives
    sa.Column("means", JSONB, nullable=False, server_default="{}"),  # posterior mean by arm
)

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("decision_id", UUID(as_uuid=True), primary_key=True),
    _text("experiment"),
    _number("epoch"),
    _number("allocation"),
    _text("arm"),  # the arm chosen: the propensity is its
    _text("served_arm", nullable=True),  # whose items were given; null: the experiment's fallback list, or nothing
    _text("unit"),
    sa.Column("propensity", sa.Double, nullable=False),
    _text("reason"),
    sa.Column("learnable", sa.Boolean, nullable=False),
    _moment("bucket"),  # the exposure's bucket in the statistics
    _moment("decided_at"),
    sa.Column("context", JSONB, nullable=False),
    sa.Column("items", ARRAY(sa.Text), nullable=False),
    sa.Column("scores", ARRAY(sa.Double), nullable=False),
    sa.Column("payload", JSONB, nullable=True),
    sa.Column("latency_ms", sa.Double, nullable=False),  # from the request's arrival to the journal
    sa.Column("awaits_confirmation", sa.Boolean, nullable=True),  # true: it counts once its exposure is confirmed
    _text("trace_id", nullable=True),  # of the request, 32 hexadecimal digits
    _text("shadow_arm", nullable=True),  # the shadow policy's choice; null: it had none to make
    sa.Column("repeated", sa.Boolean, nullable=True),  # of sticky assignment: not the unit's first choice in the epoch
    sa.Column("erased", sa.Boolean, nullable=True),  # true: the unit is a pseudonym, and no event is taken any more
    sa.Index("decisions_unit", "unit", "decision_id"),
    postgresql_partition_by=_BY_ID,
)

# Which units of sticky assignment have been given an arm by the policy in an epoch.
unit_exposures = sa.Table(
    "unit_exposures",
    metadata,
    _key("experiment"),
    sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
    _key("unit"),
)

# Confirmations that a unit was shown a decision; the first one of a decision is its exposure.
exposures = sa.Table(
    "exposures",
    metadata,
    sa.Column("decision_id", UUID(as_uuid=True), primary_key=True),
    _moment("occurred_at"),
    _moment("bucket"),  # the exposure's bucket in the statistics
    _moment_now("received_at"),
    postgresql_partition_by=_BY_ID,
)

feedback = sa.Table(
    "feedback",
    metadata,
    sa.Column("decision_id", UUID(as_uuid=True), primary_key=True),
    _key("metric"),
    _key("event_id"),
    sa.Column("value", sa.Double, nullable=False),
    _text("item_id", nullable=True),
    sa.Column("position", sa.Integer, nullable=True),
    _moment("occurred_at"),
    _moment_now("received_at"),
    postgresql_partition_by=_BY_ID,
)

outcomes = sa.Table(
    "outcomes",
    metadata,
    sa.Column("decision_id", UUID(as_uuid=True), primary_key=True),
    _key("metric"),
    _text("aggregation"),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("previous", sa.Double, nullable=True),  # value before the last change, from which the increment is made
    sa.Column("occurred_at", sa.TIMESTAMP(timezone=True), nullable=False),  # of the event that `first` or `last` kept
    sa.Column("events", sa.Integer, nullable=False, server_default="0"),
    # Earliest event, by which an outcome is late; of outcomes older than this column nobody knows: they are in time.
    sa.Column("first_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default="-infinity"),
    _moment("previous_first_at", nullable=True),  # before the last change
    postgresql_partition_by=_BY_ID,
)

# Additive only: every change is `x = x + delta`. `shard` is the web worker's slot, so that workers do not wait for
# each other's row, and -1 where compaction has summed them; readers sum. A batch touches its rows in key order, so that
# writers cannot deadlock.
decision_counts = sa.Table(
    "decision_counts",
    metadata,
    _key("experiment"),
    sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("allocation", sa.Integer, primary_key=True, autoincrement=False),
    _key("arm"),
    sa.Column("bucket", sa.TIMESTAMP(timezone=True), primary_key=True),
    sa.Column("shard", sa.SmallInteger, primary_key=True, autoincrement=False),
    _count("decisions"),
    _count("exposures"),  # those that count: chosen by the policy and answered by the arm's own recommender
    _count("fallbacks"),
    # Of rows whose allocation is 0: sums over what is `chosen` of this arm's probability p, and of p(1 − p).
    _sum("expected"),
    _sum("variance"),
    _repeated(),
    _count("chosen"),  # by the policy, whichever arm answered
    *_scores(),
)

arm_statistics = sa.Table(
    "arm_statistics",
    metadata,
    _key("experiment"),
    sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
    _key("arm"),
    _key("metric"),
    sa.Column("bucket", sa.TIMESTAMP(timezone=True), primary_key=True),
    sa.Column("shard", sa.SmallInteger, primary_key=True, autoincrement=False),
    _count("n"),
    _sum("sum"),
    _sum("sum_of_squares"),
    _count("corrected"),  # of n: outcomes all of whose events came after the attribution window
    sa.Column("allocation", sa.Integer, primary_key=True, autoincrement=False),
    _repeated(),
    *_scores(),
)

item_rewards = sa.Table(
    "item_rewards",
    metadata,
    _key("experiment"),
    _key("metric"),
    _key("item_id"),
    sa.Column("bucket", sa.TIMESTAMP(timezone=True), primary_key=True),  # UTC hour
    sa.Column("shard", sa.SmallInteger, primary_key=True, autoincrement=False),
    _sum("rewards"),
)

unmatched_feedback = sa.Table(
    "unmatched_feedback",
    metadata,
    sa.Column("decision_id", UUID(as_uuid=True), primary_key=True),
    _key("metric"),  # '' stands for the reward metric of an experiment that is not known yet
    _key("event_id"),
    sa.Column("value", sa.Double, nullable=False),
    _text("item_id", nullable=True),
    sa.Column("position", sa.Integer, nullable=True),
    sa.Column("occurred_at", sa.TIMESTAMP(timezone=True), nullable=False),
    _moment_now("received_at"),
    _moment_now("retry_at"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("permitted", ARRAY(sa.Text)),  # the experiments that it may be about; null: every one
    sa.Index("unmatched_feedback_retry_at", "retry_at"),
)

unmatched_exposures = sa.Table(
    "unmatched_exposures",
    metadata,
    sa.Column("decision_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("occurred_at", sa.TIMESTAMP(timezone=True), nullable=False),
    _moment_now("received_at"),
    _moment_now("retry_at"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("permitted", ARRAY(sa.Text)),  # the experiments that it may be about; null: every one
    sa.Index("unmatched_exposures_retry_at", "retry_at"),
)

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _text("fingerprint"),  # the same for the same event, so that it has one row however often it comes
    _text("kind"),  # feedback, exposure, or record: one of the spool that cannot be read or written
    _text("experiment", nullable=True),
    sa.Column("epoch", sa.Integer, nullable=True),
    _text("arm", nullable=True),
    sa.Column("decision_id", UUID(as_uuid=True), nullable=True),
    _text("reason"),
    _text("detail"),
    sa.Column("payload", JSONB, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="open"),
    sa.Column("times", sa.Integer, nullable=False, server_default="1"),
    _moment_now("first_seen"),
    _moment_now("last_seen"),
    sa.Index("quarantine_fingerprint", "fingerprint", unique=True),
    sa.Index("quarantine_experiment", "experiment", "id"),
    sa.Index("quarantine_decision", "decision_id"),
)

items = sa.Table(
    "items",
    metadata,
    _key("item_id"),
    _text("title", nullable=True),
    _text("category", nullable=True),
    sa.Column("features", ARRAY(sa.REAL), nullable=True),
    sa.Column("popularity", sa.Double, nullable=False, server_default="0"),
    _moment_now("updated_at"),
)

catalogue = sa.Table(
    "catalogue",
    metadata,
    sa.Column("id", sa.Boolean, sa.CheckConstraint("id", name="catalogue_one_row"), primary_key=True),
    _count("version"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    _key("prefix"),
    _text("name"),
    sa.Column("digest", sa.LargeBinary, nullable=False),  # SHA-256 of the whole key
    sa.Column("scopes", ARRAY(sa.Text), nullable=False),
    _moment_now("created_at"),
    _moment("expires_at", nullable=True),
    _moment("revoked_at", nullable=True),
    sa.Column("experiments", ARRAY(sa.Text)),  # null: every one
    sa.Column("rate_per_s", sa.Double),  # null: any number
    _moment("last_used_at", nullable=True),
    sa.Column("previous_digest", sa.LargeBinary),  # after a rotation
    _moment("previous_until", nullable=True),
)

audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _moment_now("at"),
    _text("actor"),
    _text("action"),
    _text("subject"),
    sa.Column("before", JSONB, nullable=True),
    sa.Column("after", JSONB, nullable=True),
    sa.Index("audit_log_subject", "subject", "id"),
)

# Rules that replace a default one with the same key, or stand beside them.
alert_rules = sa.Table(
    "alert_rules",
    metadata,
    _key("experiment"),  # '' stands for every experiment
    _key("key"),
    sa.Column("rule", JSONB, nullable=False),
    _moment_now("updated_at"),
)

# One row a label set, from the first time that there is something to say of it.
alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _text("fingerprint"),  # of the labels: the identity
    _text("experiment"),
    _text("rule"),
    sa.Column("labels", JSONB, nullable=False),
    _text("severity"),
    _text("summary"),
    _text("state"),
    _moment("since"),
    _moment("quiet_since", nullable=True),
    sa.Column("value", sa.Double, nullable=True),
    _text("reason"),
    sa.Column("misses", sa.Integer, nullable=False, server_default="0"),  # evaluations in a row that said nothing
    sa.Column("undecided", sa.Text, nullable=False, server_default=""),  # why the last one said nothing
    _moment("evaluated_at"),
    _text("acknowledged_by", nullable=True),
    _moment("acknowledged_at", nullable=True),
    sa.Index("alerts_fingerprint", "fingerprint", unique=True),
    sa.Index("alerts_experiment", "experiment", "id"),
)

alert_flips = sa.Table(
    "alert_flips",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("alert", sa.BigInteger, sa.ForeignKey("alerts.id"), nullable=False),
    _text("before"),
    _text("after"),
    sa.Column("value", sa.Double, nullable=True),
    _text("reason"),
    _moment("at"),
    sa.Index("alert_flips_alert", "alert", "id"),
    sa.Index("alert_flips_at", "at"),
)

# An alert is silenced while all labels of a silence are among its own.
alert_silences = sa.Table(
    "alert_silences",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("labels", JSONB, nullable=False),
    _moment("starts_at"),
    _moment("ends_at"),
    _text("comment"),
    _text("created_by"),
    sa.Index("alert_silences_ends_at", "ends_at"),
)

# Webhooks.
alert_channels = sa.Table(
    "alert_channels",
    metadata,
    _key("key"),
    _text("url"),
    _text("secret"),  # of the signature: it must be known in full to sign
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),  # failures in a row
    _moment("retry_at", nullable=True),
    _moment("switched_off_at", nullable=True),
    _text("fault", nullable=True),  # of the last attempt
    _moment_now("updated_at"),
)

# What is still to be sent; made in the transaction of the flip, deleted once the receiver has it.
alert_deliveries = sa.Table(
    "alert_deliveries",
    metadata,
    sa.Column("channel", sa.Text, sa.ForeignKey("alert_channels.key", ondelete="CASCADE"), primary_key=True),
    sa.Column(
        "flip",
        sa.BigInteger,
        sa.ForeignKey("alert_flips.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
)

# Figures of closed windows, by `monitoring` from the log; working one out again replaces its row.
metric_values = sa.Table(
    "metric_values",
    metadata,
    _key("experiment"),
    _key("level"),  # business, online, offline, or data (its quality)
    sa.Column("window_start", sa.TIMESTAMP(timezone=True), primary_key=True),
    sa.Column("window_s", sa.Integer, primary_key=True, autoincrement=False),
    _key("metric"),
    sa.Column("k", sa.Integer, primary_key=True, autoincrement=False),  # cut-off of lists; 0: it has none
    _key("arm"),  # '': of all arms together
    sa.Column("value", sa.Double, nullable=True),  # null: there was nothing to measure
    sa.Column("n", sa.BigInteger, nullable=False),  # lists, decisions or events that the value rests on
    sa.Column("detail", JSONB, nullable=False, server_default="{}"),
    _moment_now("computed_at"),
)

# Units that were erased, as salted digests, so that what comes late from a spool does not bring them back.
erased_units = sa.Table(
    "erased_units",
    metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("salt", sa.LargeBinary, nullable=False),  # the same in all rows
    _moment("erased_at"),
)

# Units whose lists are asked for on a schedule.
avatars = sa.Table(
    "avatars",
    metadata,
    sa.Column("experiment", sa.Text, sa.ForeignKey("experiments.key"), primary_key=True),
    _key("key"),
    sa.Column("definition", JSONB, nullable=False),
    _moment("since"),  # when the definition last changed: lists of before are not comparable
    _moment("asked_at", nullable=True),  # when the last look began
    _moment("looked_at", nullable=True),  # when the last look began that was stored; the same as its rows' `at`
)

# One row an arm and look; counted nowhere.
avatar_looks = sa.Table(
    "avatar_looks",
    metadata,
    _key("experiment"),
    _key("avatar"),
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _text("arm"),
    _moment("at"),
    sa.Column("items", ARRAY(sa.Text), nullable=False),
    sa.Column("payload", JSONB(none_as_null=True), nullable=True),
    sa.Column("latency_ms", sa.Double, nullable=False),
    _text("failure", nullable=True),  # why there is no list
    sa.Column("overlap", sa.Double, nullable=True),  # with the list before; null: there is none
    sa.Column("came", ARRAY(sa.Text), nullable=True),  # items that the list before did not have
    sa.Column("went", ARRAY(sa.Text), nullable=True),  # items that it had
    _text("fault", nullable=True),  # what is not as expected
    _number("faults"),  # looks in a row, this one included, with a fault
    sa.ForeignKeyConstraint(["experiment", "avatar"], ["avatars.experiment", "avatars.key"], ondelete="CASCADE"),
    sa.Index("avatar_looks_arm", "experiment", "avatar", "arm", "id"),
    sa.Index("avatar_looks_at", "experiment", "at"),
)

# What became of each feature in each pass over a closed window; working a window out again replaces its rows.
drift_results = sa.Table(
    "drift_results",
    metadata,
    _key("experiment"),
    sa.Column("window_start", sa.TIMESTAMP(timezone=True), primary_key=True),
    sa.Column("window_s", sa.Integer, primary_key=True, autoincrement=False),
    _key("feature"),  # '': the pass itself, of all features of the context
    _key("test"),
    _moment("reference_start"),
    _moment("reference_end"),
    _text("kind"),  # numeric, categorical or binary; `dataset` of the pass itself
    sa.Column("n", sa.BigInteger, nullable=False),  # values in the smaller window
    sa.Column("value", sa.Double, nullable=True),  # null: there was nothing to compare
    sa.Column("threshold", sa.Double, nullable=True),
    sa.Column("p", sa.Double, nullable=True),  # null: the test has none
    sa.Column("p_adjusted", sa.Double, nullable=True),
    _text("direction"),  # up, down or none: which way `moved` went
    _text("moved"),
    sa.Column("change", sa.Double, nullable=True),
    sa.Column("drifted", sa.Boolean, nullable=False),
    sa.Column("histogram", JSONB, nullable=False, server_default="{}"),  # of both windows
    sa.Column(
        "state", JSONB, nullable=False, server_default="{}"
    ),  # of a sequential test, which the next pass takes on
    _moment_now("computed_at"),
)

# Who may use the console.
operators = sa.Table(
    "operators",
    metadata,
    _key("name"),
    _text("role"),  # viewer or operator
    _text("password"),  # its argon2id hash, parameters and salt included
    _moment_now("created_at"),
    _moment("disabled_at", nullable=True),
)

operator_sessions = sa.Table(
    "operator_sessions",
    metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True),  # SHA-256 of the token, which only the browser has
    sa.Column("operator", sa.Text, sa.ForeignKey("operators.name", ondelete="CASCADE"), nullable=False),
    _moment_now("created_at"),
    _moment("expires_at"),
    sa.Index("operator_sessions_operator", "operator"),
    sa.Index("operator_sessions_expires_at", "expires_at"),
)

# Attempts to log in that failed or are under way, by name and by address.
log_in_failures = sa.Table(
    "log_in_failures",
    metadata,
    sa.Column("subject", sa.LargeBinary, primary_key=True),  # SHA-256 of what was tried: rows of one size
    sa.Column("count", sa.Integer, nullable=False),
    _moment("since"),
    sa.Index("log_in_failures_since", "since"),
)
