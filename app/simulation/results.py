"""What came of a simulation, for machines and for people."""

from datetime import datetime, timedelta
from typing import Self

import msgspec
from rich.console import Console

from app.replay.client import ArmReport
from app.replay.report import summary, table
from app.replay.tally import ReplayResult
from app.simulation.scenarios import Scenario, Signal

__all__ = ["Injection", "Phase", "SimulationResult", "print_result"]


class Injection(msgspec.Struct, frozen=True, kw_only=True):
    """Which fault comes when, and what it should move."""

    fault: str
    signal: Signal
    arm: str | None
    after_s: float  # since the start
    at: datetime

    @classmethod
    def of(cls, scenario: Scenario, started: datetime, duration_s: float) -> Self | None:
        """The injection of a scenario that started then; None if it is quiet."""
        if scenario.signal is None:
            return None
        after = scenario.starts * duration_s
        at = started + timedelta(seconds=after)
        return cls(fault=scenario.fault, signal=scenario.signal, arm=scenario.arm, after_s=after, at=at)

    @property
    def told(self) -> str:
        """The same in a sentence."""
        return f"After {self.after_s:g} s, at {self.at:%H:%M:%S} UTC: {self.fault}; should move: {self.signal}"


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """The time before the fault, or after it; bots are not in it."""

    name: str
    regret: float  # Σ (p* − p) over the decisions, in expected rewards
    counts: ReplayResult  # `expected` of an arm is the truth

    @classmethod
    def of(cls, name: str, counts: ReplayResult) -> Self:
        """From what was counted beside the truth."""
        best = max(row.expected or 0.0 for row in counts.arms)
        regret = sum(row.decisions * (best - (row.expected or 0.0)) for row in counts.arms)
        return cls(name=name, regret=regret, counts=counts)


class SimulationResult(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `croupier simulate --json`."""

    scenario: str
    experiment: str
    seed: int
    injected: Injection | None
    phases: tuple[Phase, ...]
    sent: dict[str, int]  # decisions, events, exposures, and what became of them
    service: tuple[ArmReport, ...]  # what the service says about the arms
    interrupted: bool


def print_result(result: SimulationResult, console: Console) -> None:
    """A table for each phase; `offline` is the truth."""
    for phase in result.phases:
        console.print(table(phase.counts, f"{result.scenario}: {phase.name}"))
        console.print(f"regret {phase.regret:,.1f}\n{summary(phase.counts)}", highlight=False, soft_wrap=True)
    sent = ", ".join(f"{count:,} {name}" for name, count in result.sent.items())
    console.print(f"sent: {sent}", highlight=False, soft_wrap=True)
