"""The specification of an experiment: its shape and defaults, what makes one valid, and what follows from it."""

from app.specification.buckets import bucket_width, start_of_bucket
from app.specification.changes import epoch_changes, same
from app.specification.contract import Contract, contract_of
from app.specification.faults import check
from app.specification.memory import AnyMemory, Decay, Everything, SlidingWindow
from app.specification.priors import prior_of, priors_of
from app.specification.shape import (
    KEY_PATTERN,
    Aggregation,
    Arm,
    ArmState,
    ExperimentRequest,
    ItemId,
    Key,
    Metric,
    Override,
    Reward,
    Shadow,
    Specification,
    State,
    UnitId,
    WarmStart,
)

__all__ = [
    "KEY_PATTERN",
    "Aggregation",
    "AnyMemory",
    "Arm",
    "ArmState",
    "Contract",
    "Decay",
    "Everything",
    "ExperimentRequest",
    "ItemId",
    "Key",
    "Metric",
    "Override",
    "Reward",
    "Shadow",
    "SlidingWindow",
    "Specification",
    "State",
    "UnitId",
    "WarmStart",
    "bucket_width",
    "check",
    "contract_of",
    "epoch_changes",
    "prior_of",
    "priors_of",
    "same",
    "start_of_bucket",
]
