"""Makes single changes of a plan, on a transaction of the caller's, each with its entry in the audit log."""

from dataclasses import dataclass
from datetime import datetime

from msgspec import UNSET

from app import alerts, experiments
from app.avatars import AvatarRequest, operating
from app.configuration.plan import Change, Secrets
from app.configuration.present import Present
from app.configuration.shape import ChannelEntry, ExperimentEntry, Name, Part
from app.errors import Conflict, InvalidInput
from app.store.database import Connection

__all__ = ["Writer"]


@dataclass(frozen=True, kw_only=True)
class Writer:
    """What writing takes."""

    connection: Connection
    present: Present
    secrets: Secrets
    now: datetime
    actor: str

    def make(self, change: Change, value: Part | None) -> None:
        """Makes one change; without a value the part goes.

        Raises:
            CroupierError: it is refused, and nothing of it is written.
        """
        if value is None:
            self._remove(change.name)
        elif isinstance(value, ExperimentEntry):
            self._put_experiment(change, value)
        elif isinstance(value, ChannelEntry):
            self._put_channel(change.name.key, value)
        elif isinstance(value, AvatarRequest):
            _, experiment, key = change.name
            operating.put_on(self.connection, experiment, key, value, self.now, actor=self.actor)
        else:
            _, experiment, key = change.name
            alerts.put_rule_on(self.connection, experiment, key, value, actor=self.actor)

    def _put_experiment(self, change: Change, entry: ExperimentEntry) -> None:
        key, state = change.name.key, "running" if entry.state is UNSET else entry.state
        _, created = experiments.put_on(
            self.connection, key, entry.specification(), state=state, if_match=None, actor=self.actor
        )
        if created != (change.before is None):
            raise Conflict(f"experiment {key} was made by somebody else just now; run this again")

    def _put_channel(self, key: str, entry: ChannelEntry) -> None:
        stored = self.present.channels.get(key)
        secret = self.secrets.get(key, stored.secret if stored else None)
        if secret is None:
            raise InvalidInput.at("#", f"channel {key} is new: say in secret_env which variable holds its secret")
        alerts.put_channel_on(self.connection, key, url=entry.url, secret=secret, actor=self.actor)

    def _remove(self, name: Name) -> None:
        if name.kind == "alert rule":
            alerts.remove_rule_on(self.connection, name.experiment, name.key, actor=self.actor)
        elif name.kind == "alert channel":
            alerts.remove_channel_on(self.connection, name.key, actor=self.actor)
        else:
            operating.remove_on(self.connection, name.experiment, name.key, actor=self.actor)
