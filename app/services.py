"""What a web worker consists of, built once after the fork."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeAlias, TypeVar

from app.auth import KeyRing
from app.errors import Unavailable
from app.recommenders import ModelServers, PythonFunctions
from app.serving.allocations import Allocations
from app.serving.decide import DecisionWriter
from app.serving.durability import DurableLog
from app.serving.exposures import ExposureWriter
from app.serving.feedback import FeedbackWriter
from app.serving.health import Health
from app.serving.journal import Batches, GroupCommit
from app.serving.recovery import Kind, Recovery, encode
from app.serving.spool import Spool
from app.serving.verdicts import Verdict
from app.serving.watching import LogWatch, note_state
from app.settings import Settings
from app.store.database import Cursor, Database
from app.store.decisions import DecisionRow
from app.store.exposures import ExposureEvent
from app.store.feedback import FeedbackEvent
from monitoring.meter import Meter
from monitoring.telemetry import Telemetry

__all__ = ["Aside", "Services"]

log = logging.getLogger(__name__)

Aside: TypeAlias = Callable[[Callable[[], Any]], Any]
Row = TypeVar("Row")
Result = TypeVar("Result")
Together: TypeAlias = Callable[[Sequence[Callable[[], Any]]], Sequence[Any]]

# fsync of a local disk takes milliseconds; one that needs longer is not a place to answer requests from.
_SPOOL_BUDGET_S = 2.0
_RECOVER_EVERY_S = 0.2
# A revoked key is refused within five seconds, however rarely allocations are looked for.
_KEYS_EVERY_S = 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class _LogParts:
    """What the durable logs of a worker share."""

    settings: Settings
    database: Database
    spooling: Batches[bytes, None]
    health: Health
    meter: Meter

    def log(
        self,
        kind: str,
        write: Callable[[Cursor, Sequence[Row]], Sequence[Result]],
        *,
        assumed: Callable[[Row], Result],
    ) -> DurableLog[Row, Result]:
        """The log of one kind of record."""
        watch, settings = LogWatch(self.meter, kind), self.settings
        budget_s = settings.commit_budget_ms / 1000
        return DurableLog(
            GroupCommit(self.database, write, limit=settings.batch_limit, budget_s=budget_s, watch=watch.batch),
            self.spooling,
            encode=partial(encode, kind),
            assumed=assumed,
            health=self.health,
            watch=watch.recorded,
        )


def _assume_accepted(_: object) -> Verdict:
    """What an event is answered that went to the spool unchecked."""
    return Verdict(status="accepted")


@dataclass(frozen=True, kw_only=True, eq=False)
class Services:
    """The parts that requests use."""

    settings: Settings
    database: Database
    allocations: Allocations
    keys: KeyRing
    spool: Spool
    health: Health
    recovery: Recovery
    decisions: DurableLog[DecisionRow, DecisionRow]
    feedback: DurableLog[FeedbackEvent, Verdict]
    exposures: DurableLog[ExposureEvent, Verdict]
    telemetry: Telemetry
    stopping: threading.Event
    aside: Aside
    together: Together

    @classmethod
    def build(
        cls,
        settings: Settings,
        database_url: str,
        *,
        shard: int = 0,
        telemetry: Telemetry | None = None,
        aside: Aside = lambda compute: compute(),
        together: Together = lambda calls: [call() for call in calls],
    ) -> "Services":
        """Connects the parts; nothing runs yet.

        Args:
            settings: of this process.
            database_url: PostgreSQL.
            shard: the worker's slot, 0 to 32,767: the row of each counter that it increments.
            telemetry: of this process; None: it has none.
            aside: runs a long computation so that it does not hold up requests.
            together: makes calls that mostly wait, some at a time, and returns what they return, in their order.
        """
        telemetry = telemetry or Telemetry.none()
        meter = telemetry.meter
        database = Database(database_url, name="croupier-web", meter=meter)
        health = Health()
        functions = PythonFunctions.from_setting(settings.python_recommenders)
        servers = ModelServers(settings.outgoing_guard)
        allocations = Allocations(database, health, functions=functions, servers=servers, aside=aside)
        spool = Spool(settings.data_dir / "spool", limit_bytes=settings.spool_limit_mb * 1_000_000)
        decisions = DecisionWriter(shard=shard)
        feedback, exposures = FeedbackWriter(shard=shard), ExposureWriter(shard=shard)
        parts = _LogParts(
            settings=settings,
            database=database,
            spooling=Batches(spool.append, limit=settings.batch_limit, budget_s=_SPOOL_BUDGET_S),
            health=health,
            meter=meter,
        )
        kinds = {
            "decision": Kind(type=DecisionRow, write=decisions.write_again),
            "feedback": Kind(type=FeedbackEvent, write=feedback.write),
            "exposure": Kind(type=ExposureEvent, write=exposures.write),
        }
        return cls(
            settings=settings,
            database=database,
            allocations=allocations,
            keys=KeyRing(database, workers=settings.workers),
            spool=spool,
            health=health,
            recovery=Recovery(database, spool, health, kinds, meter),
            decisions=parts.log("decision", decisions.write, assumed=lambda row: row),
            feedback=parts.log("feedback", feedback.write, assumed=_assume_accepted),
            exposures=parts.log("exposure", exposures.write, assumed=_assume_accepted),
            telemetry=telemetry,
            stopping=threading.Event(),
            aside=aside,
            together=together,
        )

    def start(self) -> None:
        """Starts what goes on in the background: refreshing allocations and keys, replaying the spool, telemetry."""
        interval_s = self.settings.poll_interval_ms / 1000
        # Each by itself: whatever is wrong with the one, or takes long, must not keep, say, revoked keys alive.
        every = ((self.allocations.refresh, interval_s), (self._refresh_keys, min(interval_s, _KEYS_EVERY_S)))
        for refresh, every_s in every:
            threading.Thread(target=self._for_ever, args=(refresh, every_s), name="refresh", daemon=True).start()
        recover = partial(self.recovery.run, self.stopping, interval_s=_RECOVER_EVERY_S)
        threading.Thread(target=recover, name="recovery", daemon=True).start()
        self.telemetry.meter.ask(self._note_state)
        self.telemetry.start()

    def close(self) -> None:
        """Records what is open and lets go of the database."""
        self.stopping.set()
        self.decisions.close()
        self.feedback.close()
        self.exposures.close()
        self.spool.close()
        self.database.close()
        self.telemetry.close()

    def _note_state(self) -> None:
        note_state(self.telemetry.meter, self.spool, self.health, self.allocations.refreshed_at)

    def _refresh_keys(self) -> None:
        self.keys.refresh()
        self.keys.note_uses(datetime.now(UTC))

    def _for_ever(self, refresh: Callable[[], None], interval_s: float) -> None:
        while not self.stopping.is_set():
            try:
                refresh()
            except Unavailable as error:
                log.warning("serving from the last state: %s", error)
            except Exception:  # the next refresh may succeed; until then the last state serves
                log.exception("cannot refresh")
            self.stopping.wait(interval_s)
