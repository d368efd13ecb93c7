"""What every recommender is: parameters that arrive as JSON, and a way to prepare what answers queries.

Answers are made in web workers, on the path of a request. What an arm needs from outside, the catalogue or a
model server, it is given when it is prepared; of its own it has no state, no clock and no random numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from app.recommenders.catalogue import Catalogue
from app.recommenders.functions import PythonFunctions
from app.recommenders.model_server import ModelServers
from app.recommenders.values import Query, Recommendation

__all__ = ["Answerer", "Recommender", "Sources"]

Answerer: TypeAlias = Callable[[Query], Recommendation]
"""Up to `query.k` different items, best first, fewer where no more are fit; or RecommenderFailed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sources:
    """What recommenders answer from. The last two belong to the process and outlive any one catalogue."""

    catalogue: Catalogue = field(default_factory=lambda: Catalogue.build([], version=-1))
    rewards: Mapping[str, float] = field(default_factory=dict)  # decayed count by item, of one experiment
    servers: ModelServers = field(default_factory=ModelServers)
    functions: PythonFunctions = field(default_factory=PythonFunctions)


class Recommender(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """The base of every kind: fields are the kind's parameters, validated while an experiment is decoded."""

    @property
    def kind(self) -> str:
        """The word that stands for this kind in an experiment's specification."""
        return str(self.__struct_config__.tag)

    @property
    def reward_half_life_s(self) -> float | None:
        """With which half-life, in seconds, `Sources.rewards` decay; None when they are not used."""
        return None

    @property
    def waits(self) -> bool:
        """Whether answering waits for something outside this process, so that several may wait at once."""
        return False

    def obstacle(self, sources: Sources) -> str | None:
        """Why this process could never answer with these parameters; None when it could."""
        del sources
        return None

    def prepare(self, sources: Sources) -> Answerer:
        """What answers queries from these sources.

        Called off the request path, whenever the experiment, the catalogue or the counts were loaded anew; the
        work that all requests share belongs here. It does not fail: what is missing fails the queries.
        """
        raise NotImplementedError
