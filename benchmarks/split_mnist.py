"""How much of each task is kept: Split-MNIST in three scenarios, and Permuted-MNIST.

The protocol of van de Ven and Tolias: five tasks of two digits (in the domain scenario: is it the
second of the two?), a perceptron of 2 x 400 units, Adam at 0.001, batches of 128, 2,000 steps a
task, the test images; weights are drawn as PyTorch does, which the published figures stand on. The
joint network is trained from scratch on all rows, for as many steps as the others in all. `value`
is the mean accuracy over the tasks after the last one. A memory holds 1,000 rows, 100 of each class
in the end. Permuted-MNIST: ten tasks, the same digits with their pixels in another order each time,
domain scenario, one epoch of all images a task.

The strengths of EWC and SI were chosen with ``--tune`` (seed 100, 300 steps a task).

Goes on where it stopped: what is in the results with the same settings is not run again.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from statistics import fmean, stdev

import numpy as np
import record

QUESTION = "split_mnist"
STEPS, BATCH, MEMORY = 2000, 128, 1000
SCENARIOS = ("class", "domain", "task")
PUBLISHED = {  # task, domain, class
    "naive": (87.2, 59.2, 19.9),
    "ewc": (98.6, 64.0, 20.0),
    "online ewc": (99.1, 64.3, 20.0),
    "si": (99.1, 65.4, 20.0),
    "lwf": (99.6, 71.5, 23.9),
    "replay": (99.0, 93.8, 88.8),
    "agem": (98.6, 87.7, 65.1),
    "joint": (99.7, 98.4, 97.9),
}
STRENGTHS: dict[str, dict[str, float]] = {
    "ewc": {"task": 1e5, "domain": 1e5, "class": 1e2, "permuted": 1e2},
    "si": {"task": 10.0, "domain": 1000.0, "class": 10.0, "permuted": 1.0},
}
GRID = {"ewc": [1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7], "si": [0.1, 1.0, 10.0, 100.0, 1e3, 1e4]}


def strategy(method: str, scenario: str, strength: float | None = None):
    """The strategy of a method, with its strength for the scenario."""
    from autokit.continual import EWC, SI, Replay
    from autokit.continual.strategies import make

    kind = method.split()[-1]
    if strength is None:
        strength = STRENGTHS.get(kind, {}).get(scenario)
    if kind == "ewc":
        return EWC(strength=strength, online=method.startswith("online"))
    if kind == "replay":
        return Replay(select="balanced")
    return SI(strength=strength) if kind == "si" else make(method)


@cache
def mnist(path) -> tuple:
    """Training and test rows in [0, 1], and their digits."""
    with np.load(path) as file:
        parts = [file[f"{name}_{part}"] for part in ("train", "test") for name in "xy"]
    x, y, x_test, y_test = parts
    rows = [(part.reshape(len(part), -1) / 255).astype("float32") for part in (x, x_test)]
    return rows[0], y.astype(int), rows[1], y_test.astype(int)


def split_tasks(path, scenario: str):
    """``(rows, labels, test rows, test labels)`` of each pair of digits."""
    x, y, x_test, y_test = mnist(path)
    for k in range(5):
        chosen, tested = y // 2 == k, y_test // 2 == k
        labels, wanted = y[chosen], y_test[tested]
        if scenario == "domain":
            labels, wanted = labels % 2, wanted % 2
        yield x[chosen], labels, x_test[tested], wanted


def permuted_tasks(path, seed: int):
    """The same for ten orders of the pixels."""
    x, y, x_test, y_test = mnist(path)
    rng = np.random.default_rng(seed)
    for k in range(10):
        order = rng.permutation(x.shape[1]) if k else np.arange(x.shape[1])
        yield x[:, order], y, x_test[:, order], y_test


def perceptron(shape, n_outputs):
    """Two hidden layers of 400 units."""
    import keras

    def dense(units, activation=None):
        # PyTorch's default: uniform in +-1 / sqrt(inputs)
        drawn = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
        return keras.layers.Dense(units, activation=activation, kernel_initializer=drawn)

    return keras.Sequential(
        [keras.Input(shape), dense(400, "relu"), dense(400, "relu"), dense(n_outputs)]
    )


def run(path, method: str, scenario: str, seed: int, steps: int, strength=None) -> dict:
    """Learn the stream, and the accuracy on each task at the end."""
    from autokit import ContinualModel

    permuted = scenario == "permuted"
    model = ContinualModel(
        perceptron,
        strategy(method, scenario, strength),
        scenario="domain" if permuted else scenario,
        memory_size=MEMORY,
        batch_size=BATCH,
        learning_rate=0.001,
        validation_fraction=0,
        random_state=seed,
    )
    tasks = list(permuted_tasks(path, seed) if permuted else split_tasks(path, scenario))
    n_seen, n_steps = 0, 0
    with record.measured() as cost:
        for k, (x, y, _, _) in enumerate(tasks):
            n_seen = n_seen + len(x) if method == "joint" else len(x)
            wanted = steps * (k + 1) if method == "joint" and k == len(tasks) - 1 else steps
            epochs = 1 if permuted else max(1, round(wanted * BATCH / n_seen))
            model.set_params(epochs=epochs)
            model.partial_fit(x, y, task=k if scenario == "task" else None)
            n_steps += epochs * -(-n_seen // BATCH)
    scores = [
        model.score(x, y, task=k if scenario == "task" else None)
        for k, (_, _, x, y) in enumerate(tasks)
    ]
    return {
        "value": fmean(scores),
        "scores": scores,
        "steps": n_steps,
        "state_mib": model.state_size_bytes_ / 2**20,
        "strategy": repr(model.strategy_),
        **cost,
    }


def tune(path, methods, scenarios, steps) -> None:
    """Print the accuracy of each strength."""
    for scenario in scenarios:
        for method in methods:
            for strength in GRID.get(method, ()):
                result = run(path, method, scenario, 100, steps, strength)
                print(f"{scenario:9}{method:8}{strength:10g}  {result['value']:.4f}", flush=True)


def table() -> None:
    """Mean and spread in percent, beside what was published."""
    results: dict = {}
    for line in record.latest(record.read(QUESTION)):
        results.setdefault((line["method"], line["data"]), []).append(100 * line["value"])
    for (method, data), values in sorted(results.items()):
        spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
        place = {"task": 0, "domain": 1, "class": 2}.get(data)
        known = "" if place is None or method not in PUBLISHED else PUBLISHED[method][place]
        print(f"{data:9}{method:12}{fmean(values):6.2f}{spread:9} ({len(values)})  {known}")


def main() -> None:
    import warnings

    given = record.arguments(
        __doc__, seeds=5, first=0, methods="", scenarios="", steps=STEPS, tune=0, table=0
    )
    path = record.data_file(given.data, "images/mnist.npz")
    if given.table or path is None:
        table()
        sys.exit(0 if given.table else 1)
    methods = [m.strip() for m in given.methods.split(";") if m] or list(PUBLISHED)
    scenarios = given.scenarios.split() or list(SCENARIOS)
    warnings.simplefilter("ignore")  # of methods that are near chance by nature: they are here
    if given.tune:
        tune(path, methods, scenarios, given.tune)
        return
    done = {
        (r["method"], r["data"], r["seed"], r["strategy"])
        for r in record.read(QUESTION)
        if r["steps_a_task"] == given.steps
    }
    for seed in range(given.first, given.first + given.seeds):
        for scenario in scenarios:
            for method in methods:
                settings = repr(strategy(method, scenario))
                if (method, scenario, seed, settings) in done:
                    continue
                result = run(path, method, scenario, seed, given.steps)
                record.write(QUESTION, method, scenario, seed, steps_a_task=given.steps, **result)
                shown = {k: result[k] for k in ("value", "cpu_seconds", "state_mib")}
                print(scenario, method, seed, json.dumps(shown), flush=True)
    table()


if __name__ == "__main__":
    main()
