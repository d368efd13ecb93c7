"""What a web worker consists of, built once after the fork."""

import logging
import threading
from dataclasses import dataclass

from app.auth import KeyRing
from app.errors import Unavailable
from app.serving.allocations import Allocations
from app.serving.decide import DecisionWriter
from app.serving.feedback import FeedbackWriter, Verdict
from app.serving.journal import GroupCommit
from app.settings import Settings
from app.store.database import Database
from app.store.decisions import DecisionRow
from app.store.feedback import FeedbackEvent

__all__ = ["Services"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Services:
    """The parts that requests use."""

    settings: Settings
    database: Database
    allocations: Allocations
    keys: KeyRing
    decisions: GroupCommit[DecisionRow, DecisionRow]
    feedback: GroupCommit[FeedbackEvent, Verdict]
    stopping: threading.Event

    @classmethod
    def build(cls, settings: Settings, database_url: str, *, shard: int = 0) -> "Services":
        """Connects the parts; nothing runs yet.

        Args:
            settings: of this process.
            database_url: PostgreSQL.
            shard: the worker's slot, 0 to 32,767: the row of each counter that it increments.
        """
        database = Database(database_url, name="croupier-web")
        allocations = Allocations(database)
        batch_limit, budget_s = settings.batch_limit, settings.commit_budget_ms / 1000
        feedback_writer = FeedbackWriter(allocations.specification_of, shard=shard)
        return cls(
            settings=settings,
            database=database,
            allocations=allocations,
            keys=KeyRing(database),
            decisions=GroupCommit(database, DecisionWriter(shard=shard).write, limit=batch_limit, budget_s=budget_s),
            feedback=GroupCommit(database, feedback_writer.write, limit=batch_limit, budget_s=budget_s),
            stopping=threading.Event(),
        )

    def start(self) -> None:
        """Starts refreshing allocations and keys in the background."""
        threading.Thread(target=self._refresh_for_ever, name="refresh", daemon=True).start()

    def close(self) -> None:
        """Commits what is open and lets go of the database."""
        self.stopping.set()
        self.decisions.close()
        self.feedback.close()
        self.database.close()

    def _refresh_for_ever(self) -> None:
        while not self.stopping.is_set():
            try:
                self.allocations.refresh()
                self.keys.refresh()
            except Unavailable as error:
                log.warning("serving from the last allocations: %s", error)
            except Exception:  # the next refresh may succeed; until then the last state serves
                log.exception("cannot refresh")
            self.stopping.wait(self.settings.poll_interval_ms / 1000)
