"""What feedback is judged by: of each epoch its reward, and every metric that was declared during it."""

from collections.abc import Iterable, Mapping

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.specification import Contract
from app.store.database import Cursor
from app.store.tables import contracts

__all__ = ["EpochKey", "of_experiment", "read", "save"]

EpochKey = tuple[str, int]  # experiment, epoch

_READ = """
SELECT experiment, epoch, contract::text FROM contracts
JOIN unnest(%(experiments)s::text[], %(epochs)s::int[]) AS wanted (experiment, epoch) USING (experiment, epoch)
"""


def read(cursor: Cursor, keys: Iterable[EpochKey]) -> dict[EpochKey, Contract]:
    """The contracts of these epochs; unknown ones are left out."""
    pairs = list(keys)
    cursor.execute(_READ, {"experiments": [key for key, _ in pairs], "epochs": [epoch for _, epoch in pairs]})
    return {
        (experiment, epoch): msgspec.json.decode(text, type=Contract) for experiment, epoch, text in cursor.fetchall()
    }


def of_experiment(connection: sa.Connection, experiment: str) -> dict[int, Contract]:
    """All contracts that an experiment ever had, by epoch."""
    query = sa.select(contracts.c.epoch, contracts.c.contract).where(contracts.c.experiment == experiment)
    return {epoch: msgspec.convert(contract, Contract) for epoch, contract in connection.execute(query)}


def save(connection: sa.Connection, experiment: str, epoch: int, contract: Contract) -> None:
    """Stores the contract of an epoch; one that it has already is replaced."""
    values: Mapping[str, object] = msgspec.to_builtins(contract)
    statement = insert(contracts).values(experiment=experiment, epoch=epoch, contract=values)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["experiment", "epoch"], set_={"contract": statement.excluded.contract}
        )
    )
