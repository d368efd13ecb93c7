"""Alerts: rules are evaluated against readings, flips are stored, and told to those who want to hear."""

from app.alerting.role import run

__all__ = ["run"]
