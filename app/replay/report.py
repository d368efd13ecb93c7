"""How a replay looks while it runs (a progress bar, or a line every 10 s), and the table at its end."""

import time
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.replay.tally import ReplayResult

__all__ = ["LiveReport", "summary", "table"]

LINE_EVERY_S = 10.0


class LiveReport:
    """Shows counts while the replay runs; a context manager."""

    def __init__(self, console: Console, total: int | None) -> None:
        self._console, self._total = console, total
        self._last_line = time.monotonic()
        self._progress = Progress(
            BarColumn(bar_width=8),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[shares]}"),
            console=console,
            refresh_per_second=2,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._progress.add_task("decisions", total=total, shares="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, result: ReplayResult) -> None:
        """Bring the display up to date; without a terminal, print a line when 10 s have passed."""
        shares = " ".join(f"{row.arm} {_percent(row.recent_share, 0)}" for row in result.arms)
        trouble = f" · {result.retries} retries, {result.failures} failures" if result.retries else ""
        self.update(result.decisions, shares + trouble)

    def update(self, decisions: int, text: str) -> None:
        """The same, with any text beside the number of decisions."""
        self._progress.update(self._task, completed=decisions, shares=text)
        if not self._console.is_terminal and time.monotonic() - self._last_line >= LINE_EVERY_S:
            self._last_line = time.monotonic()
            of = "" if self._total is None else f" of {self._total:,}"
            self._console.print(f"{decisions:,}{of} decisions: {text}", highlight=False, soft_wrap=True)


def table(result: ReplayResult) -> Table:
    """One row an arm: `rewarded` is the reward rate, `offline` the one that the data promises."""
    drawn = Table(title="What the replay saw", box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    drawn.add_column("arm")
    for heading in ("decisions", "share", "last 1,000", "clicks", "rewarded", "offline", "P(best)"):
        drawn.add_column(heading, justify="right")
    for row in result.arms:
        drawn.add_row(
            row.arm,
            f"{row.decisions:,}",
            _percent(row.share),
            _percent(row.recent_share),
            f"{row.clicks:,}",
            _percent(row.reward_rate),
            _percent(row.expected),
            _number(row.probability_best),
            style="bold" if row.arm == result.best_arm else None,
        )
    return drawn


def summary(result: ReplayResult) -> str:
    """The counts that are not about one arm, in a few lines."""
    rate = result.decisions / result.seconds if result.seconds > 0 else 0.0
    lines = [f"{result.decisions:,} decisions in {result.seconds:.0f} s ({rate:.0f} a second)"]
    if result.best_arm:
        lines.append(
            f"best arm: {result.best_arm}, dealt {_percent(result.best_share_10s)} of the last 10 seconds' "
            f"decisions and {_percent(result.best_share_1000)} of the last 1,000"
        )
    if result.feedback:
        lines.append("feedback: " + ", ".join(f"{n:,} {status}" for status, n in result.feedback.items()))
    trouble = {word: getattr(result, word) for word in ("fallbacks", "spooled", "retries", "failures")}
    if any(trouble.values()):
        lines.append(", ".join(f"{count:,} {word}" for word, count in trouble.items() if count))
    if result.last_failure:
        lines.append(f"last failure: {result.last_failure}")
    return "\n".join(lines)


def _percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{share:.{digits}%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
