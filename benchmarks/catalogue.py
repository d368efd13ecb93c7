"""What a catalogue of 10⁵ items × 64 features costs: a request, and everybody's requests while it is loaded anew.

Run with `python -m benchmarks.catalogue`. Ends with exit code 1 when a bar is missed.
"""

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from app.embedded import EmbeddedPostgres
from app.recommenders import Catalogue, CatalogueItem, Popular, Query, Random, Recommender, Similar, Sources
from app.store import items
from app.store.database import Database
from app.store.items import ItemRow
from app.store.migrate import migrate
from benchmarks.results import save
from tests.running import Api, running_service, until

_ITEMS = 100_000
_FEATURES = 64
_SECONDS = 15.0
_EVERY_S = 0.02

# Milliseconds.
_BARS = {
    "similar, p50": 5.0,
    "popular, p50": 0.3,
    "random, p50": 0.3,
    "decision while loading, p99": 50.0,
}


def main() -> int:
    """Prints the table; the exit code."""
    figures = {**_answers(), **_decisions()}
    for figure, value in figures.items():
        bar = _BARS.get(figure)
        verdict = "" if bar is None else f"≤ {bar:g}{'' if value <= bar else '  FAILED'}"
        print(f"{figure:32} {value:10.3f} ms  {verdict}")
    save("catalogue", figures)
    return int(any(figures[figure] > bar for figure, bar in _BARS.items()))


def _vectors() -> list[list[float]]:
    vectors: list[list[float]] = np.random.default_rng(1).normal(size=(_ITEMS, _FEATURES)).round(4).tolist()
    return vectors


def _answers() -> dict[str, float]:
    """Median time of an answer by kind, in this process."""
    listed = [CatalogueItem(item_id=f"{i:06}", features=vector, popularity=i) for i, vector in enumerate(_vectors())]
    sources = Sources(catalogue=Catalogue.build(listed, 1))
    context = {"item_id": "000007", "history": [f"{i:06}" for i in range(50)]}
    query = Query(unit="u", context=context, k=10, seed=5)
    kinds: list[Recommender] = [Popular(), Similar(), Random()]
    figures = {}
    for kind in kinds:
        answer = kind.prepare(sources)
        took = [_milliseconds(lambda answer=answer: answer(query)) for _ in range(101)]  # type: ignore[misc]
        figures[f"{kind.kind}, p50"] = statistics.median(took)
    return figures


def _decisions() -> dict[str, float]:
    """Times of decisions by one web worker: while the catalogue rests, and while it is loaded time and again."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="croupier-bench-")))
        postgres = EmbeddedPostgres(folder / "postgres")
        url = postgres.start()
        stack.callback(postgres.stop)
        _fill(url)
        service = stack.enter_context(running_service(url, folder, roles=("web",), CROUPIER_WORKERS="1"))
        api = service.api()
        api.put("/v1/experiments/bench", {"arms": [{"key": "only", "recommender": {"kind": "popular"}}]}).ok()
        until(lambda: len(_decide(api)["items"]) == 10, "the catalogue", 60)
        quiet = _times(api)
        stop = threading.Event()
        changing = threading.Thread(target=_change_until, args=(service.api(), stop))
        changing.start()
        loading = _times(api)
        stop.set()
        changing.join()
    return {**_quantiles("decision", quiet), **_quantiles("decision while loading", loading)}


def _fill(url: str) -> None:
    database = Database(url)
    migrate(database, datetime.now(UTC))
    rows = [
        ItemRow(item_id=f"{i:06}", title=f"Item {i}", category="c", features=tuple(vector), popularity=float(i))
        for i, vector in enumerate(_vectors())
    ]
    for start in range(0, _ITEMS, 1000):
        with database.transaction() as connection:
            items.upsert(connection, rows[start : start + 1000])
    database.close()


def _change_until(api: Api, stop: threading.Event) -> None:
    while not stop.wait(0.2):
        api.put("/v1/items", {"items": [{"item_id": "extra"}]}).ok()


def _decide(api: Api) -> dict[str, list[object]]:
    decision: dict[str, list[object]] = api.post("/v1/recommendations", {"experiment": "bench", "unit": "u"}).ok()
    return decision


def _times(api: Api) -> list[float]:
    """Milliseconds from when each decision was due: a worker that stands still makes all that follow late."""
    begin = time.perf_counter()
    took = []
    for number in range(int(_SECONDS / _EVERY_S)):
        due = begin + number * _EVERY_S
        time.sleep(max(0.0, due - time.perf_counter()))
        _decide(api)
        took.append((time.perf_counter() - due) * 1000)
    return sorted(took)


def _quantiles(name: str, took: list[float]) -> dict[str, float]:
    shares = {"p50": 0.5, "p99": 0.99, "maximum": 1.0}
    return {f"{name}, {word}": took[min(int(share * len(took)), len(took) - 1)] for word, share in shares.items()}


def _milliseconds(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return (time.perf_counter() - begin) * 1000


if __name__ == "__main__":
    sys.exit(main())
