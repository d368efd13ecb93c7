"""Experiments as feature flags: the arm's key, or its constant, is the value, and no recommender is asked.

Who fetches all flags at once fetches them ahead of use, and asks again and again whether they have changed. So these
decisions count once they are shown, the unit draws their arms, and they are *held*: the same tag for a while, whatever
the policy learns meanwhile. Whether a decision is made then depends on the unit and the time alone, never on the arm
that it would get, so that each is logged with the exact probability of its arm (docs/openfeature.md).
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from app.recommenders import Payload, Recommendation
from app.serving.allocations import Served
from app.serving.decide import About, choose, row_of
from app.specification import Reward
from app.store.decisions import DecisionRow
from bandits.selection import unit_interval

__all__ = ["LONGEST_HOLD_S", "evaluate", "hold_s", "tag_of"]

LONGEST_HOLD_S: Final = 3600.0


def evaluate(served: Served, about: About, *, held: bool = False) -> DecisionRow:
    """One flag's decision, ready for the journal; its payload is null where the arm's key says it all.

    Args:
        served: the experiment.
        about: the request.
        held: it is one of all flags of a unit: sticky, and it counts once its exposure is confirmed.

    Raises:
        Conflict: the experiment is not being served.
    """
    choice = choose(served, about.unit, about.decision_id, sticky=held)
    recommender = served.arms[choice.arm].recommender
    answer = Recommendation(payload=recommender.value if isinstance(recommender, Payload) else None)
    return row_of(served, choice, answer, choice.arm, about=about, now=datetime.now(UTC), sticky=held, confirmed=held)


def hold_s(reward: Reward) -> float:
    """How long a decision is held, seconds: at most half the time in which it can be confirmed."""
    return min(LONGEST_HOLD_S, reward.late_until_s / 2)


def tag_of(flags: Iterable[Served], unit: str, now: float) -> str:
    """What changes when a unit must be given these flags anew: with a specification, a state, or the end of a hold.

    All workers that serve the same specifications make the same one, also after a restart. Units are out of step with
    each other, so that they do not all come back at once.

    Args:
        flags: in any order that is always the same.
        unit: who is served.
        now: seconds since 1970.
    """
    phase = unit_interval(b"", "hold", unit)
    parts = [
        f"{s.key} {s.salt.hex()} {s.version} {s.state} {int(now / hold_s(s.specification.reward) + phase)}"
        for s in flags
    ]
    return hashlib.blake2b("\n".join((*parts, unit)).encode(), digest_size=16).hexdigest()
