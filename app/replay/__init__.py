"""Real data sets, replayed against a running service as if their users came today."""

from app.replay.msweb import replay_msweb
from app.replay.runner import ReplayOptions
from app.replay.tally import ArmResult, ReplayResult

__all__ = ["ArmResult", "ReplayOptions", "ReplayResult", "replay_msweb"]
