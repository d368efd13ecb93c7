"""What the same metrics cost with Evidently. Runs in its own environment: it needs another pandas than others may.

    python benchmarks/evidently_lists.py LISTS.npz

The file has `lists`, `relevant` and `history`, each of shape (n_lists, n), padded with −1, and `vectors`. Prints the
CPU seconds of each metric at k = 10 as JSON.
"""

import json
import sys
import time

import numpy as np
import numpy.typing as npt
import pandas as pd
from evidently import DataDefinition, Dataset, Recsys, Report
from evidently.metrics import MAP, NDCG, Diversity, Serendipity

K = 10

_Items = npt.NDArray[np.int64]


def rows(lists: _Items, relevant: _Items, vectors: npt.NDArray[np.float64]) -> pd.DataFrame:
    """One row a slot: user, item, its rank, whether it is relevant, and its features."""
    user, rank = np.nonzero(lists >= 0)
    item = lists[user, rank]
    hit = (relevant[user] == item[:, None]).any(axis=1)
    features = {f"f{number}": vectors[item, number] for number in range(vectors.shape[1])}
    return pd.DataFrame({"user_id": user, "item_id": item, "prediction": rank + 1, "target": hit * 1, **features})


def main(path: str) -> dict[str, float]:
    """Seconds by metric."""
    given = np.load(path)
    names = [f"f{number}" for number in range(given["vectors"].shape[1])]
    definition = DataDefinition(ranking=[Recsys(recommendations_type="rank")], numerical_columns=names)
    current, history = (
        Dataset.from_pandas(rows(given[name], given["relevant"], given["vectors"]), data_definition=definition)
        for name in ("lists", "history")
    )
    wanted = {
        "average_precision": MAP(k=K),
        "ndcg": NDCG(k=K),
        "intra_list_diversity": Diversity(k=K, item_features=names),
        "serendipity": Serendipity(k=K, item_features=names),
    }
    seconds = {}
    for name, metric in wanted.items():
        begin = time.process_time()
        Report([metric]).run(current, None, additional_data={"current_train_data": history.as_dataframe()})
        seconds[name] = time.process_time() - begin
    return seconds


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
