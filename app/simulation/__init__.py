"""Synthetic users with known truth, and faults that are injected on purpose; docs/simulation.md has the formulas."""

from app.simulation.run import SimulationOptions, simulate
from app.simulation.scenarios import SCENARIOS, Conditions, Scenario

__all__ = ["SCENARIOS", "Conditions", "Scenario", "SimulationOptions", "simulate"]
