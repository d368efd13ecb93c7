"""The shapes of `GET /v1/experiments/{key}/quality`."""

from datetime import datetime

from msgspec import Struct

from app.reports.measures import Level
from app.reports.shapes import Interval
from monitoring.hierarchy import VerdictWord

__all__ = [
    "ArmOrderReport",
    "ArmValue",
    "AssociationReport",
    "DayValue",
    "EdgeReport",
    "NodeReport",
    "QualityReport",
    "UnitSample",
]


class ArmValue(Struct, frozen=True, kw_only=True):
    """A metric of one arm."""

    arm: str
    value: float | None
    n: int


class DayValue(Struct, frozen=True, kw_only=True):
    """A metric of one UTC day, of all arms together."""

    day: datetime
    value: float
    n: int


class NodeReport(Struct, frozen=True, kw_only=True):
    """One metric."""

    metric: str
    level: Level
    value: float | None
    n: int
    arms: list[ArmValue]
    trend: list[DayValue]


class AssociationReport(Struct, frozen=True, kw_only=True):
    """How a proxy goes with a business metric, over units or over cells of arm and day."""

    pairs: int
    rho: float | None
    interval: Interval | None
    adjusted_rho: float | None
    adjusted_interval: Interval | None


class ArmOrderReport(Struct, frozen=True, kw_only=True):
    """The arms, best first, by either metric."""

    order_by_proxy: tuple[str, ...]
    order_by_business: tuple[str, ...]
    agrees: bool | None
    same_best: bool | None


class EdgeReport(Struct, frozen=True, kw_only=True):
    """A proxy under a business metric."""

    proxy: str
    business: str
    by_units: AssociationReport
    by_cells: AssociationReport
    arms: ArmOrderReport
    verdict: VerdictWord
    why: str


class UnitSample(Struct, frozen=True, kw_only=True):
    """The units that `by_units` rests on."""

    units: int
    share: float  # of all units, about
    since: datetime  # decisions that were made earlier were not read


class QualityReport(Struct, frozen=True, kw_only=True):
    """The body of `GET /v1/experiments/{key}/quality`."""

    experiment: str
    data_as_of: datetime
    since: datetime
    until: datetime
    level: float
    sample: UnitSample
    nodes: list[NodeReport]
    edges: list[EdgeReport]
    unavailable: dict[str, str]
