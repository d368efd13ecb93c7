"""Locks that keep the configuration as it was read until it is written."""

import sqlalchemy as sa

from app.store.tables import alert_channels, alert_rules, avatars

__all__ = ["lock_shared_parts", "one_at_a_time"]

# Any number will do that nobody else takes.
_APPLYING = 7_205_759


def one_at_a_time(connection: sa.Connection) -> None:
    """Waits until no other transaction has asked for this."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_APPLYING)))


def lock_shared_parts(connection: sa.Connection) -> None:
    """Nobody else writes rules, channels or avatars before the transaction ends; everybody may read them.

    To be called after experiments were locked: who changes an avatar locks its experiment first, too.
    """
    for table in (alert_channels, alert_rules, avatars):
        connection.execute(sa.text(f"LOCK TABLE {table.name} IN SHARE ROW EXCLUSIVE MODE"))
