"""Every setting: read once from the environment into one frozen value. Documented in docs/reference.md.

Unknown `CROUPIER_*` words are refused, and all faults are reported at once, so that a typing error in a
deployment is found at start and not a week later. Each may be read from a file that `<variable>_FILE` names, so that
secrets need not stand in an environment, which other programs show.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from app.errors import ConfigurationError
from app.outgoing import Guard, guard_of
from monitoring.tracing import SAMPLERS, SamplerName

__all__ = ["SUPERVISOR", "WORKER_SLOT", "Settings", "value_of", "variable_of"]

PREFIX = "CROUPIER_"
FILE = "_FILE"
# No settings, but notes that our processes leave their children: a web worker's number, the supervisor's process.
WORKER_SLOT = "CROUPIER_WORKER_SLOT"
SUPERVISOR = "CROUPIER_SUPERVISOR"


def _setting(
    default: object,
    doc: str,
    *,
    read: Callable[[str], object] = str,
    low: float | None = None,
    high: float | None = None,
    variable: str | None = None,
) -> Any:  # noqa: ANN401 - a dataclass field stands for a value of the annotated type
    metadata = {"doc": doc, "read": read, "low": low, "high": high, "variable": variable}
    return field(default=default, metadata=metadata)


def _switch(text: str) -> bool:
    """On or off."""
    known = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}
    if text.lower() not in known:
        raise ValueError("must be on or off")
    return known[text.lower()]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings, with their defaults. `Settings.from_environment` reads them."""

    database_url: str | None = _setting(
        None,
        "PostgreSQL 15 or later. Unset: an embedded PostgreSQL in the data directory.",
        variable="DATABASE_URL",
    )
    data_dir: Path = _setting(Path(".croupier"), "Where the embedded PostgreSQL and local files live.", read=Path)
    host: str = _setting("127.0.0.1", "Address the web server listens on.")
    port: int = _setting(8000, "Port the web server listens on.", read=int, low=0, high=65535)
    workers: int = _setting(2, "Web worker processes.", read=int, low=1, high=256)
    bootstrap_key: str | None = _setting(
        None, "An API key with every scope, made by `up` and `migrate` if it does not exist yet."
    )
    commit_budget_ms: int = _setting(
        250, "How long a request waits for its commit before its row goes to the spool.", read=int, low=20, high=60_000
    )
    batch_limit: int = _setting(500, "Most rows that one group commit writes.", read=int, low=1, high=5_000)
    spool_limit_mb: int = _setting(
        256, "How much the spool may hold while the database is away, megabytes.", read=int, low=1, high=1_000_000
    )
    poll_interval_ms: int = _setting(
        250,
        "How often a web worker looks for new allocations, experiments and keys.",
        read=int,
        low=20,
        high=5_000,
    )
    learner_interval_ms: int = _setting(
        500, "How often the learner looks for new statistics.", read=int, low=20, high=60_000
    )
    monitor_interval_ms: int = _setting(
        500,
        "How often the monitor matches feedback that came before its decision.",
        read=int,
        low=20,
        high=60_000,
    )
    alert_interval_ms: int = _setting(
        15_000, "How often the monitor evaluates the rules of alerts.", read=int, low=100, high=600_000
    )
    batch_interval_ms: int = _setting(
        60_000, "How often the monitor looks for days that are over, to work out their quality.", read=int, low=100,
        high=86_400_000,
    )  # fmt: skip
    alertmanager_urls: str | None = _setting(
        None, "Every replica of Alertmanager that alerts are sent to: URLs, comma-separated. Unset: none."
    )
    runbook_url: str | None = _setting(
        None,
        "Where docs/runbook.md is published: alerts of default rules link to their section of it. Unset: no links.",
    )
    data_window_s: int = _setting(
        3_600,
        "Width of the closed windows that drift and data quality are told for, seconds.",
        read=int,
        low=1,
        high=86_400,
    )
    data_reference_s: int = _setting(
        604_800, "How long before a window its reference begins, seconds.", read=int, low=86_400, high=7_776_000
    )
    retention_days: int = _setting(
        30, "How many days a decision can still be given feedback or be retried.", read=int, low=1, high=3_650
    )
    max_requests: int = _setting(
        0, "After how many requests a web worker is replaced; 0: never.", read=int, low=0, high=10**9
    )
    python_recommenders: str | None = _setting(
        None, "Which functions recommenders of kind `python` may call: targets, comma-separated. Unset: none."
    )
    outgoing: str = _setting(
        "auto",
        "Which addresses model servers and webhooks may have: `public`, `private` (these too), or `auto`.",
    )
    outgoing_allow: str | None = _setting(
        None, "Hosts and networks that they may have all the same, comma-separated, as `models,10.2.0.0/16`."
    )
    cors_origins: str | None = _setting(
        None, "Origins whose pages may call the API, comma-separated, as `https://shop.example`; or `*`. Unset: none."
    )
    log_level: str = _setting("info", "debug, info, warning or error.")
    request_log: bool = _setting(
        True,  # noqa: FBT003 - a default
        "Whether each request is a line of the log, at level info.",
        read=_switch,
    )
    metrics: bool = _setting(
        True,  # noqa: FBT003 - a default
        "Whether `/metrics` answers, for Prometheus.",
        read=_switch,
    )
    otlp_endpoint: str | None = _setting(
        None,
        "An OpenTelemetry collector, as `http://collector:4318`: it gets traces, metrics and events over HTTP.",
        variable="OTEL_EXPORTER_OTLP_ENDPOINT",
    )
    service_name: str = _setting("croupier", "The service's name at the collector.", variable="OTEL_SERVICE_NAME")
    traces_sampler: SamplerName = _setting(
        "parentbased_traceidratio", "Which requests are traced.", variable="OTEL_TRACES_SAMPLER"
    )
    traces_sampler_arg: float = _setting(
        0.01,
        "The share of requests that a `traceidratio` sampler traces.",
        read=float,
        low=0,
        high=1,
        variable="OTEL_TRACES_SAMPLER_ARG",
    )
    metric_export_interval_ms: int = _setting(
        60_000,
        "How often metrics go to the collector.",
        read=int,
        low=100,
        high=3_600_000,
        variable="OTEL_METRIC_EXPORT_INTERVAL",
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ, **overrides: object) -> "Settings":
        """Reads the settings; `overrides` (command-line options; None means not given) win.

        Raises:
            ConfigurationError: every fault of the environment, one a line.
        """
        table = {variable_of(f): f for f in fields(cls)}
        faults = [
            f"{name}: no such setting. Known ones are listed in docs/reference.md"
            for name in sorted(environment)
            if name.startswith(PREFIX)
            and name.removesuffix(FILE) not in table
            and name not in {WORKER_SLOT, SUPERVISOR}
        ]
        options = {name: value for name, value in overrides.items() if value is not None}
        values: dict[str, Any] = dict(options)
        for variable, f in table.items():
            try:
                if f.name in options:
                    _check(f.metadata, options[f.name])
                elif (text := value_of(environment, variable)) != "":
                    values[f.name] = _check(f.metadata, f.metadata["read"](text))
            except ValueError as error:
                where = f"{variable}={options[f.name]!r}" if f.name in options else _where(environment, variable)
                faults.append(f"{where}: {error}")
        faults += _contradictions(values)
        if faults:
            raise ConfigurationError("\n".join(faults))
        return cls(**values)

    @property
    def alertmanagers(self) -> tuple[str, ...]:
        """The URLs of `alertmanager_urls`."""
        return _urls(self.alertmanager_urls)

    @property
    def outgoing_guard(self) -> Guard:
        """Where requests may be sent to. `auto`: who can reach a service that listens on loopback is here already."""
        is_local = self.host == "localhost" or self.host.startswith("127.") or self.host == "::1"
        private = self.outgoing == "private" or (self.outgoing == "auto" and is_local)
        return guard_of(self.outgoing_allow or "", private=private)

    @property
    def cors(self) -> tuple[str, ...]:
        """The origins of `cors_origins`."""
        return _urls(self.cors_origins)

    def as_environment(self) -> dict[str, str]:
        """The environment that a child process reads the same settings from, whatever files its parent's names."""
        given = {variable_of(f): str(value) for f in fields(self) if (value := getattr(self, f.name)) is not None}
        return {**{variable + FILE: "" for variable in given}, **given}


def variable_of(setting: Any) -> str:  # noqa: ANN401 - a dataclasses.Field, which is generic in its value
    """The environment variable of a field of `Settings`."""
    return str(setting.metadata["variable"] or PREFIX + setting.name.upper())


def value_of(environment: Mapping[str, str], variable: str) -> str:
    """What the environment says of a variable, or the file that `<variable>_FILE` names; empty when neither does.

    Raises:
        ValueError: the file cannot be read or is empty, or both are there.
    """
    text, path = environment.get(variable, ""), environment.get(variable + FILE, "")
    if path == "":
        return text
    if text != "":
        raise ValueError(f"{variable} is set too; set one of them")
    try:
        text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if text == "":
        raise ValueError("the file is empty")
    return text


def _where(environment: Mapping[str, str], variable: str) -> str:
    """Where a setting comes from, for messages. What is in a file is not shown: it may be a secret."""
    path = environment.get(variable + FILE, "")
    return f"{variable}{FILE}={path!r}" if path else f"{variable}={environment.get(variable, '')!r}"


def _check(row: Mapping[str, Any], value: Any) -> object:  # noqa: ANN401 - of the setting's type
    """The value, if it lies within its limits."""
    if row["low"] is not None and not row["low"] <= value <= row["high"]:
        raise ValueError(f"must lie within {row['low']} and {row['high']}")
    return value


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    """Faults that limits alone do not show."""
    faults = []
    if values.get("log_level", "info") not in {"debug", "info", "warning", "error"}:
        faults.append(f"CROUPIER_LOG_LEVEL={values['log_level']!r}: must be debug, info, warning or error")
    urls = _urls(values.get("alertmanager_urls"))
    if any(not url.startswith(("http://", "https://")) for url in urls):
        faults.append(f"CROUPIER_ALERTMANAGER_URLS={','.join(urls)!r}: each must start with http:// or https://")
    runbook = values.get("runbook_url")
    if runbook is not None and not runbook.startswith(("http://", "https://")):
        faults.append(f"CROUPIER_RUNBOOK_URL={runbook!r}: must start with http:// or https://")
    if values.get("outgoing", "auto") not in {"auto", "private", "public"}:
        faults.append(f"CROUPIER_OUTGOING={values['outgoing']!r}: must be auto, private or public")
    try:
        guard_of(values.get("outgoing_allow") or "", private=False)
    except ValueError as error:
        faults.append(f"CROUPIER_OUTGOING_ALLOW={values['outgoing_allow']!r}: {error}")
    origins = _urls(values.get("cors_origins"))
    faults += [
        f"CROUPIER_CORS_ORIGINS={origin!r}: {fault}" for origin in origins if (fault := _fault_of(origin, origins))
    ]
    sampler = values.get("traces_sampler", SAMPLERS[0])
    if sampler not in SAMPLERS:
        faults.append(f"OTEL_TRACES_SAMPLER={sampler!r}: must be one of {', '.join(SAMPLERS)}")
    return faults


def _fault_of(origin: str, origins: Sequence[str]) -> str | None:
    """What is wrong with an origin as a browser names it; None when nothing is."""
    if origin == "*":
        return None if len(origins) == 1 else "* is all origins: no others beside it"
    is_one = re.fullmatch(r"https?://[a-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?", origin)
    return None if is_one else "must be like https://shop.example or http://localhost:3000: lower case, no path"


def _urls(text: str | None) -> tuple[str, ...]:
    return tuple(url.strip() for url in (text or "").split(",") if url.strip())
