"""An OpenFeature provider for servers: OFREP's own, and `track()`, which sends feedback to Croupier.

It needs the packages `openfeature-sdk` and `openfeature-provider-ofrep`.
"""

from collections import OrderedDict

from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagEvaluationDetails, FlagValueType
from openfeature.hook import Hook, HookContext, HookHints
from openfeature.track import TrackingEventDetails

__all__ = ["CroupierProvider"]


class CroupierProvider(OFREPProvider):
    """Remembers which decision each user got last for each flag, and says so in the feedback that it sends.

    Args:
        url: of the service.
        key: an API key with the scopes `decide` and `reward`.
        remember: how many decisions.
        timeout: of a call, seconds.
    """

    def __init__(self, url: str, key: str, *, remember: int = 100_000, timeout: float = 5.0) -> None:
        super().__init__(url, headers_factory=lambda: {"Authorization": f"Bearer {key}"}, timeout=timeout)
        self._memory = _Memory(remember)

    def get_provider_hooks(self) -> list[Hook]:
        """Notes every evaluation."""
        return [self._memory]

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Sends a value (1 if there is none) of the metric that the event is named after, about the attribute `flag`.

        It returns once the event is safe, and fails if it is not.
        """
        details = tracking_event_details or TrackingEventDetails()
        user = evaluation_context.targeting_key if evaluation_context else None
        decision_id = self._memory.decision_of(user, details.attributes.get("flag"))
        if decision_id is None:
            return  # the user has not met that flag, or long ago: there is nothing to give feedback about
        value = 1.0 if details.value is None else details.value
        answer = self.session.post(
            f"{self.base_url.rstrip('/')}/v1/feedback",
            json={"decision_id": decision_id, "metric": tracking_event_name, "value": value},
            headers=self.headers_factory() if self.headers_factory else None,
            timeout=self.timeout,
        )
        answer.raise_for_status()

    def shutdown(self) -> None:
        """Closes connections."""
        self.session.close()


class _Memory(Hook):
    """The last decision for each user and flag; the oldest are forgotten."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._decisions: OrderedDict[tuple[object, object], str] = OrderedDict()

    def decision_of(self, user: object, flag: object) -> str | None:
        """Its id."""
        return self._decisions.get((user, flag))

    def after(self, hook_context: HookContext, details: FlagEvaluationDetails[FlagValueType], hints: HookHints) -> None:
        """Runs after each evaluation."""
        del hints
        place = (hook_context.evaluation_context.targeting_key, details.flag_key)
        self._decisions[place] = str(details.flag_metadata["decision_id"])
        self._decisions.move_to_end(place)
        if len(self._decisions) > self._size:
            self._decisions.popitem(last=False)
