import threading
import time
from collections.abc import Sequence

from app.replay.clicks import MAX_BATCH, ClickQueue
from app.replay.client import FeedbackEvent


def event(name: str) -> FeedbackEvent:
    """An event of that name."""
    return FeedbackEvent(decision_id=name, metric="click", value=1, event_id="e")


class Sent:
    """Remembers what was sent, and when."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.times: list[float] = []

    def __call__(self, events: Sequence[FeedbackEvent]) -> None:
        """Remember."""
        self.batches.append([event.decision_id for event in events])
        self.times.append(time.monotonic())


def test_sends_each_when_due() -> None:
    """Events go in the order of their times, not earlier, and `run` ends when all have gone."""
    sent, started = Sent(), time.monotonic()
    queue = ClickQueue(sent, threading.Event())
    queue.add(event("late"), delay_s=0.3)
    queue.add(event("early"), delay_s=0.0)
    queue.add(event("early too"), delay_s=0.0)
    queue.close()
    queue.run()
    assert sent.batches == [["early", "early too"], ["late"]]
    assert sent.times[1] - started >= 0.3


def test_an_interrupt_sends_what_is_left_at_once() -> None:
    """Clicks that have happened are not lost by an interrupt; batches keep their limit."""
    sent, stop = Sent(), threading.Event()
    queue = ClickQueue(sent, stop)
    for number in range(MAX_BATCH + 1):
        queue.add(event(str(number)), delay_s=60)
    stop.set()
    queue.close()
    queue.run()
    assert [len(batch) for batch in sent.batches] == [MAX_BATCH, 1]


def test_takes_events_while_running() -> None:
    """Events may be added while the queue runs in its thread."""
    sent = Sent()
    queue = ClickQueue(sent, threading.Event())
    thread = threading.Thread(target=queue.run)
    thread.start()
    queue.add(event("a"), delay_s=0.01)
    time.sleep(0.1)
    queue.add(event("b"), delay_s=0.01)
    queue.close()
    thread.join(timeout=5)
    assert [name for batch in sent.batches for name in batch] == ["a", "b"]
