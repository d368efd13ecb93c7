"""The telemetry that the settings ask for."""

from app.settings import Settings
from monitoring.telemetry import Telemetry, TelemetryOptions

__all__ = ["telemetry_of"]


def telemetry_of(settings: Settings, role: str) -> Telemetry:
    """The telemetry of this process, to be made after it was forked.

    Args:
        settings: which sinks there are.
        role: web, learner or monitor.
    """
    options = TelemetryOptions(
        metrics_folder=settings.data_dir / "metrics" if settings.metrics else None,
        request_log=settings.request_log and settings.log_level in {"debug", "info"},
        otlp=settings.otlp_endpoint is not None,
        service=settings.service_name,
        sampler=settings.traces_sampler,
        sampled_share=settings.traces_sampler_arg,
        export_interval_s=settings.metric_export_interval_ms / 1000,
    )
    return Telemetry(options, role)
