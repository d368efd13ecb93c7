"""Checks of the database: what its facts mean."""

from datetime import datetime, timedelta

from app.doctor.finding import Finding, fault, ok, warning
from app.store.facts import Contents, Server
from app.store.partitions import DAYS_AHEAD
from app.store.retention import keep_since

__all__ = ["check_contents", "check_schema", "check_server"]

_OLDEST_SERVER = 15
# The hours of a day pass between two looks at what is there; and a monitor may be restarted.
_FEWEST_DAYS_AHEAD = DAYS_AHEAD - 2
_SLOW_TO_DROP = timedelta(days=2)
_ONE_DAY = timedelta(days=1)


def check_server(server: Server, *, skew_s: float) -> list[Finding]:
    """Version, durability, clock, connections, transactions that do not end, and roles.

    Args:
        server: its facts.
        skew_s: by how much its clock is ahead of ours.
    """
    return [
        _version(server),
        _durability(server),
        _clock(skew_s),
        _connections(server),
        _transactions(server),
        _web(server),
        *(_role(server, role, without) for role, without in _WITHOUT.items()),
    ]


def check_schema(current: str | None, head: str) -> Finding:
    """Whether the schema is the one that this version knows."""
    if current is None:
        return fault("schema", "this database was never migrated", "Run `croupier migrate`")
    if current < head:
        return fault("schema", f"revision {current}; this version needs {head}", "Run `croupier migrate`")
    if current > head:
        return warning(
            "schema", f"revision {current}; this version knows {head}",
            "An upgrade is under way: go on with it. Nothing older than one release may run (docs/operations.md)",
        )  # fmt: skip
    return ok("schema", f"revision {current}")


def check_contents(contents: Contents, now: datetime, *, retention_days: int) -> list[Finding]:
    """Partitions, keys and quarantine."""
    return [
        _partitions_ahead(contents, now),
        _retention(contents, now, retention_days),
        _keys(contents),
        _quarantine(contents),
    ]


_WITHOUT = {
    "learner": "traffic is dealt from the last allocations, and nothing is learned",
    "monitor": "no partitions are made, nothing is matched, watched or alerted",
}


def _version(server: Server) -> Finding:
    if server.major < _OLDEST_SERVER:
        return fault("PostgreSQL", server.version, f"Upgrade it: {_OLDEST_SERVER} or later is needed")
    return ok("PostgreSQL", server.version)


def _durability(server: Server) -> Finding:
    if server.off:
        names = ", ".join(server.off)
        return fault(
            "durability", f"off: {names}",
            "Switch it on: what was acknowledged as committed may be lost in a crash",
        )  # fmt: skip
    return ok("durability", "what is committed survives a crash")


def _clock(skew_s: float) -> Finding:
    detail = f"the database's is {abs(skew_s):.1f} s {'ahead of' if skew_s > 0 else 'behind'} this machine's"
    advice = "Run NTP on both: ids, partitions and attribution windows go by the clocks"
    if abs(skew_s) > 60:
        return fault("clock", detail, advice)
    return warning("clock", detail, advice) if abs(skew_s) > 1 else ok("clock", detail)


def _connections(server: Server) -> Finding:
    detail = f"{server.connections} of {server.most_connections} are in use"
    if server.connections > 0.8 * server.most_connections:
        return warning("connections", detail, "Raise max_connections, or run fewer web workers (up to 13 each)")
    return ok("connections", detail)


def _transactions(server: Server) -> Finding:
    detail = f"the oldest is open for {server.oldest_transaction_s:.0f} s"
    if server.oldest_transaction_s > 3600:
        return warning(
            "transactions", detail, "Find it in pg_stat_activity and end it: it holds back vacuum and retention"
        )
    return ok("transactions", detail)


def _web(server: Server) -> Finding:
    if "web" in server.connected:
        return ok("web", "connected to the database")
    return warning("web", "no web server is connected to the database", "Start one: `croupier web`")


def _role(server: Server, role: str, without: str) -> Finding:
    if role in server.active:
        return ok(role, "active")
    started = "one is connected, and not active" if role in server.connected else "none runs"
    return fault(role, f"{started}: {without}", f"Start one: `croupier {role}`; if one runs, see its log")


def _partitions_ahead(contents: Contents, now: datetime) -> Finding:
    if contents.newest_day is None:
        return fault("partitions", "there are none", "Run `croupier migrate`")
    days = (contents.newest_day + _ONE_DAY - now) / _ONE_DAY
    detail = f"made until {contents.newest_day:%Y-%m-%d}, {max(days, 0):.0f} days ahead"
    advice = "Start the monitor, or see its log: without a partition for the day every decision is answered 500"
    if days < 1:
        return fault("partitions", detail, f"Run `croupier migrate` now. {advice}")
    return warning("partitions", detail, advice) if days < _FEWEST_DAYS_AHEAD else ok("partitions", detail)


def _retention(contents: Contents, now: datetime, days: int) -> Finding:
    oldest, kept = contents.oldest_day, keep_since(now, days)
    if oldest and oldest + _SLOW_TO_DROP < kept:
        return warning(
            "retention", f"there are partitions of {oldest:%Y-%m-%d}, though {days} days are kept",
            "See the monitor's log. A transaction or dump that does not end keeps it from dropping them",
        )  # fmt: skip
    return ok("retention", f"{days} days; the oldest partition is of {oldest:%Y-%m-%d}" if oldest else f"{days} days")


def _keys(contents: Contents) -> Finding:
    if not contents.keys:
        return fault("keys", "none is in force", "Make one: `croupier keys create --name shop`")
    return ok("keys", f"{contents.keys} in force")


def _quarantine(contents: Contents) -> Finding:
    if contents.quarantined:
        return warning(
            "quarantine", f"{contents.quarantined:,} events could not be used",
            "See why: `croupier quarantine list`; then replay or discard them",
        )  # fmt: skip
    return ok("quarantine", "empty")
