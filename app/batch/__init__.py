"""The quality of what was recommended, worked out for windows of time that are over, and kept."""

from app.batch.run import BatchOptions, Watch, WorkedOut, batch

__all__ = ["BatchOptions", "Watch", "WorkedOut", "batch"]
