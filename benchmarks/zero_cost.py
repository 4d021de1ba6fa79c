"""Do zero-cost proxies rank NAS-Bench-201's cells better than their number of weights?

Cells drawn uniformly from the whole table, each built as in the benchmark (5 cells a stage, 16
channels), initialised with a seed of its own and asked about one batch of 32 MNIST digits resized
to 16x16. `value` is Spearman's correlation with the test accuracy on CIFAR-10 after 200 epochs; a
proxy of minus infinity (a network that tells no rows apart) ranks last. `low` and `high` hold 95 %
of 1,000 bootstrap samples of the cells, `above_n_params` is the share of them in which the proxy
beats the number of weights on the same cells.

--keep FILE writes the proxies of each cell down as it goes, and goes on from there. With
--part 0/3, 1/3 and 2/3 three processes share the work and the file; a last run without reports.
"""

from __future__ import annotations

import csv
import functools
import gzip
import json
import random
import time
from pathlib import Path

import numpy as np
import record
from scipy.stats import rankdata

N_BOOTSTRAPS = 1000


def spearman(a, b) -> float:
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


@functools.cache
def task_of(mnist: Path, side: int):
    from autokit._backend import tf
    from autokit.nas import Task
    from autokit.training import Batch

    with np.load(mnist) as images:
        X, y = images["x_train"][:1000], images["y_train"][:1000].astype("int32")
    X = tf.image.resize(X[..., None] / 255.0, (side, side), antialias=True).numpy()
    batch = Batch(X.astype("float32"), y)
    return Task(batch, batch, X.shape[1:], 10, "softmax", "sparse_categorical_crossentropy")


def measure(row: dict, mnist: Path, side: int) -> dict:
    """The proxies of one cell, and the CPU seconds that each took."""
    from autokit.nas import NB201Architecture, NB201Space
    from autokit.nas.evaluators import PROXIES, ZeroCostEvaluator
    from autokit.training import seeded

    architecture = NB201Architecture.from_arch_str(row["arch_str"])
    line = {"index": int(row["index"]), "accuracy": float(row["cifar10_test_200ep"])}
    space, task = NB201Space(), task_of(mnist, side)
    with record.measured() as cost, seeded(line["index"]):
        model = space.build(architecture, task.input_shape, task.n_outputs, "linear")
    line["build"] = [None, cost["cpu_seconds"]]
    for name in PROXIES:
        evaluator = ZeroCostEvaluator(space, task, name)
        with record.measured() as cost:
            value = evaluator.function(model, evaluator.batch, evaluator.loss)
        line[name] = [value, cost["cpu_seconds"]]
    return line


def report(lines: list[dict], side: int, seed: int) -> None:
    accuracy = np.array([line["accuracy"] for line in lines])
    names = [name for name, cell in lines[0].items() if isinstance(cell, list) and name != "build"]
    values = {n: np.array([line[n][0] for line in lines], float) for n in names}
    rng = np.random.default_rng(seed)
    samples = rng.integers(len(lines), size=(N_BOOTSTRAPS, len(lines)))
    drawn = {n: np.array([spearman(v[s], accuracy[s]) for s in samples]) for n, v in values.items()}
    table = []
    for name in sorted(names, key=lambda n: -spearman(values[n], accuracy)):
        low, high = np.quantile(drawn[name], (0.025, 0.975))
        table.append(
            record.write(
                "zero_cost",
                name,
                f"{len(lines)} cells, MNIST {side}x{side}",
                seed,
                spearman(values[name], accuracy),
                low=low,
                high=high,
                above_n_params=float(np.mean(drawn[name] > drawn["n_params"])),
                cpu_seconds=float(np.mean([line[name][1] for line in lines])),
                build_cpu_seconds=float(np.mean([line["build"][1] for line in lines])),
            )
        )
    print(record.table(table, dict.fromkeys(("value", "low", "high", "above_n_params"), 3)
                       | {"cpu_seconds": 2}))  # fmt: skip


def main():
    options = record.arguments(__doc__, cells=300, side=16, minutes=600.0, keep="", part="0/1")
    names = ("nas/nb201_cifar10.csv.gz", "images/mnist.npz")
    table_path, mnist = (record.data_file(options.data, name) for name in names)
    if table_path is None or mnist is None:
        return
    with gzip.open(table_path, "rt") as file:
        rows = random.Random(0).sample(list(csv.DictReader(file)), options.cells)
    keep = Path(options.keep) if options.keep else None
    lines = []
    if keep is not None and keep.exists():
        lines = [json.loads(line) for line in keep.read_text().splitlines()]
    known = {line["index"] for line in lines}
    part, parts = map(int, options.part.split("/"))
    until = time.monotonic() + 60 * options.minutes
    for row in rows[part::parts]:
        if int(row["index"]) in known:
            continue
        if time.monotonic() > until:
            break
        lines.append(measure(row, mnist, options.side))
        if keep is not None:
            with keep.open("a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
        if len(lines) % 25 == 0:
            print(f"{len(lines)} cells", flush=True)
    if parts == 1:
        report(lines, options.side, 0)


if __name__ == "__main__":
    main()
