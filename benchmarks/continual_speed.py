"""How many training steps a CPU second, and what twenty tasks cost.

Split digits, five experiences of two classes, a perceptron of 64-100-100-10, batches of 32, Adam;
`value` is iterations per CPU second over the whole stream, with everything a strategy does between
experiences. "first stream" traces its computations, "second stream" is another model in the same
process. Avalanche 0.6 on the same machine and task: naive 346, EWC 270, SI 273, replay 357.

Twenty tasks, digits with their pixels in another order each time: `value` is the CPU seconds of
the last five tasks as a multiple of those of tasks 2 to 6, `growth` that of the bytes kept.
"""

from __future__ import annotations

import time
import warnings
from statistics import fmean

import numpy as np
import record
from sklearn.datasets import load_digits

QUESTION = "continual_speed"
BATCH, EPOCHS, N_TASKS, TASK_EPOCHS = 32, 50, 20, 5
AVALANCHE = {"naive": 346, "ewc": 270, "si": 273, "replay": 357}


def strategies() -> dict:
    """From the name in the table to a strategy."""
    from autokit.continual import EWC

    return {
        "naive": "naive",
        "ewc": "ewc",
        "online ewc": EWC(online=True),
        "si": "si",
        "mas": "mas",
        "lwf": "lwf",
        "replay": "replay",
    }


def model_of(strategy, seed: int, scenario: str, epochs: int):
    from autokit import ContinualModel
    from autokit.layers import mlp

    return ContinualModel(
        lambda shape, n_outputs: mlp(shape, n_outputs, widths=(100, 100)),
        strategy,
        scenario=scenario,
        memory_size=500,
        epochs=epochs,
        batch_size=BATCH,
        validation_fraction=0,
        random_state=seed,
    )


def speed(method: str, strategy, X, y, seed: int) -> list[dict]:
    """Iterations per CPU second of a stream, twice."""
    from autokit.training import clear_programs

    clear_programs()
    lines = []
    for stream in ("first stream", "second stream"):
        model, n_steps = model_of(strategy, seed, "class", EPOCHS), 0
        with record.measured() as cost:
            for task in range(5):
                rows = y // 2 == task
                model.partial_fit(X[rows], y[rows])
                n_steps += EPOCHS * -(-int(rows.sum()) // BATCH)
        value = n_steps / cost["cpu_seconds"]
        more = {"iterations": n_steps, "times_avalanche": None, **cost}
        if method in AVALANCHE:
            more["times_avalanche"] = value / AVALANCHE[method]
        data = f"split digits, {stream}"
        lines.append(record.write(QUESTION, method, data, seed, value, **more))
    return lines


def growth(method: str, strategy, X, y, seed: int) -> dict:
    """How the cost of a task changes over twenty."""
    model = model_of(strategy, seed, "domain", TASK_EPOCHS)
    rng, seconds, sizes = np.random.default_rng(seed), [], []
    for _ in range(N_TASKS):
        shuffled = X[:, rng.permutation(X.shape[1])]
        clock = time.process_time()
        model.partial_fit(shuffled, y)
        seconds.append(time.process_time() - clock)
        sizes.append(model.state_size_bytes_)
    return record.write(
        QUESTION, method, "20 tasks", seed, fmean(seconds[-5:]) / fmean(seconds[1:6]),
        growth=sizes[-1] / sizes[0], state_kib=sizes[-1] / 1024, cpu_seconds=sum(seconds),
        first_cpu_seconds=seconds[0], task_cpu_seconds=seconds, state_bytes=sizes,
    )  # fmt: skip


def main():
    options = record.arguments(__doc__, seeds=3)
    from autokit.continual import ContinualWarning

    warnings.simplefilter("ignore", ContinualWarning)
    X, y = load_digits(return_X_y=True)
    fast, tasks = [], []
    for seed in range(options.seeds):
        for method, strategy in strategies().items():
            fast += speed(method, strategy, X, y, seed)
        kinds = {name: strategies()[name] for name in ("naive", "ewc", "online ewc", "si")}
        tasks += [growth(method, strategy, X, y, seed) for method, strategy in kinds.items()]
    print(record.table(fast, {"value": 0, "times_avalanche": 1, "cpu_seconds": 2}))
    print(record.table(tasks, {"value": 2, "growth": 3, "state_kib": 0, "cpu_seconds": 2}))


if __name__ == "__main__":
    main()
