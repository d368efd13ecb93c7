"""Real data sets, replayed against a running service as if their users came today."""

from app.replay.headlines import HeadlineOptions, replay_upworthy, simulate_upworthy
from app.replay.msweb import replay_msweb
from app.replay.runner import ReplayOptions
from app.replay.tally import ArmResult, ReplayResult
from app.replay.upworthy import read_tests

__all__ = [
    "ArmResult",
    "HeadlineOptions",
    "ReplayOptions",
    "ReplayResult",
    "read_tests",
    "replay_msweb",
    "replay_upworthy",
    "simulate_upworthy",
]
