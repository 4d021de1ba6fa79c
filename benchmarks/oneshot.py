"""Do DARTS and ENAS find better networks than chance, trained alike?

`value` is the test accuracy of the architecture found, trained from scratch with the same rows,
epochs and settings as the random ones. `points` are hundredths above the mean of the random
architectures of the same data. `skip_share` counts skip connections among the edges that carry
anything. The supernet's costs (``--part cost``) are those of a training step against a fixed
network's: the mean over the random architectures, in fresh processes.

Two shared cores have to do: one cell a stage and width 4 for nb201; three cells of two nodes and
width 4 for cell; 1,797 digits, or 5,000 of MNIST's images at 14x14.
"""

from __future__ import annotations

import itertools
import json
import resource
import subprocess
import sys
import time
from statistics import fmean

import numpy as np
import record
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

N_RANDOM = 10
SEARCHES = {
    "DARTS": ("darts", {}),
    "DARTS, no guard": ("darts", {"auxiliary_skip": False, "selection": "share"}),
    "DARTS, second order": ("darts", {"order": 2}),
    "ENAS": ("enas", {}),
}


def spaces() -> dict:
    """The spaces that two cores can search."""
    from autokit.nas import CellSpace, NB201Space

    return {
        "nb201": NB201Space(n_cells=1, width=4),
        "cell": CellSpace(n_nodes=2, n_cells=3, width=4),
    }


def arrays_of(data: str, folder):
    """Rows to train on and rows to test on, None if they are missing."""
    if data == "digits":
        digits = load_digits()
        x, y = (digits.images / 16).astype("float32"), digits.target.astype("int32")
        return train_test_split(x, y, stratify=y, random_state=0)
    path = record.data_file(folder, "images/mnist.npz")
    if path is None:
        return None
    with np.load(path) as file:
        names = ("x_train", "x_test", "y_train", "y_test")
        x, x_test, y, y_test = (file[name] for name in names)
    x, x_test = (halved(part / np.float32(255)) for part in (x[:5000], x_test))
    return x, x_test, y[:5000].astype("int32"), y_test.astype("int32")


def halved(x):
    """Images of half the side: means of 2x2 pixels."""
    n, height, width = x.shape
    return x.reshape(n, height // 2, 2, width // 2, 2).mean(axis=(2, 4))


def task_of(arrays):
    """A fifth of the training rows validates."""
    from autokit.nas import Task
    from autokit.training import Batch, split

    x, _, y, _ = arrays
    training, validation = split(Batch(x, y), 0.2, 0, stratify=True)
    loss = "sparse_categorical_crossentropy"
    return Task(training, validation, x.shape[1:], 10, "softmax", loss)


def test_accuracy(trainer, architecture, seed: int, arrays) -> float:
    """Of an architecture that the trainer has just trained."""
    from autokit.training import predict

    probabilities = predict(trainer.restore(architecture, seed).model, arrays[1])
    return float((probabilities.argmax(axis=1) == arrays[3]).mean())


def random_ones(case: str, space, net, task, arrays, options) -> list[dict]:
    """Random architectures, each trained once; the seed numbers them."""
    from autokit.nas import Budget, TrainEvaluator
    from autokit.training import clear_programs

    lines = [r for r in record.latest(record.read("oneshot")) if r["data"] == case]
    lines = [r for r in lines if r["method"] == "random" and r["epochs"] == options.retrain]
    rng = np.random.default_rng(0)
    for seed in range(N_RANDOM):
        architecture = space.sample(rng)
        if any(r["seed"] == seed for r in lines):
            continue
        trainer = TrainEvaluator(space, task)
        with record.measured() as cost:
            evaluation = trainer(architecture, Budget(options.retrain, seed=seed))
        lines.append(
            record.write(
                "oneshot",
                "random",
                case,
                seed,
                test_accuracy(trainer, architecture, seed, arrays),
                validation=evaluation.score,
                epochs=options.retrain,
                skip_share=net.skip_share(architecture),
                n_params=evaluation.n_params,
                architecture=repr(architecture),
                **cost,
            )
        )
        print(case, "random", seed, lines[-1]["value"], flush=True)
        clear_programs()
    return lines


def searched(case, space, net, task, arrays, options, name, seed, chance) -> dict:
    """One search, its find trained, and what the supernet went through."""
    from autokit.nas import TrainEvaluator
    from autokit.nas.oneshot import ONESHOT
    from autokit.training import clear_programs

    method, settings = SEARCHES[name]
    trainer = TrainEvaluator(space, task)
    with record.measured() as cost:
        result = ONESHOT[method](
            space,
            task,
            epochs=options.epochs if method == "darts" else options.epochs // 2,
            retrain_epochs=options.retrain,
            seed=seed,
            trainer=trainer,
            **settings,
        )
    best, rows = result.best, result.supernet.rows
    value = test_accuracy(trainer, best.architecture, seed, arrays)
    picture = f"oneshot_{case}_{name}.png".replace(",", "").replace(" ", "_")
    result.supernet.plot_alphas(record.RESULTS / picture)
    clear_programs()
    return record.write(
        "oneshot",
        name,
        case,
        seed,
        value,
        points=100 * (value - chance),
        validation=best.score,
        epochs=options.retrain,
        supernet_epochs=len(rows),
        skip_share=net.skip_share(best.architecture),
        counts=[row["counts"] for row in rows],
        n_params=best.n_params,
        architecture=repr(best.architecture),
        **cost,
    )


def step_cost(case: str, what: str, options) -> None:
    """CPU seconds of a training step and the memory it added; in a process of its own."""
    from autokit._backend import tf
    from autokit.nas import TrainEvaluator
    from autokit.nas.oneshot.bilevel import Bilevel, BilevelSettings
    from autokit.nas.oneshot.epochs import shuffled_tensors
    from autokit.nas.oneshot.single_path import SharedWeightsTraining, WeightSettings
    from autokit.training import FitConfig
    from autokit.training.fit_loop import make_optimizer
    from autokit.training.objectives import TensorBatch, make_loss
    from autokit.training.programs import borrowed

    data, name = case.split(", ")
    space, task = spaces()[name], task_of(arrays_of(data, options.data))
    rows, loss, n_steps = shuffled_tensors(task.train, 0), make_loss(task.loss), 8
    order = tf.range(n_steps * 64)
    numbers = (tf.constant(0), tf.constant(n_steps), tf.constant(64))
    rate = tf.constant(0.01)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if what == "fixed":
        architecture = space.sample(np.random.default_rng(options.seeds))
        model = TrainEvaluator(space, task).build(architecture, 0)
        config = FitConfig(loss=task.loss, learning_rate=0.01)
        with borrowed(model, make_optimizer(config), loss) as program:
            batch = TensorBatch(*rows)
            seconds = _fastest(lambda: program.train(batch, order, 0, n_steps, 64))
    else:
        net = space.supernet(task.input_shape, 10, "softmax")
        if what == "single path":
            run = SharedWeightsTraining(net, loss, WeightSettings()).steps
            rng = np.random.default_rng(0)
            paths = tf.constant(np.stack([net.choices(space.sample(rng)) for _ in range(n_steps)]))
            seconds = _fastest(lambda: run(rows, order, paths, *numbers, rate))
        else:
            settings = BilevelSettings(order=2 if what == "second order" else 1)
            start = np.zeros((net.n_edges, net.n_operations))
            run = Bilevel(net, loss, start, settings).steps
            seconds = _fastest(lambda: run(rows, rows, (order, order), *numbers, rate, rate))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"step_ms": 1000 * seconds / n_steps, "memory_mib": (after - before) / 1024}))


def _fastest(run, repeats: int = 5) -> float:
    """CPU seconds, which others on the machine change little; the first call traces."""
    run()
    times = []
    for _ in range(repeats):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return min(times)


def costs(case: str, options) -> None:
    """Supernet steps against steps of fixed networks."""

    def measured(what, seed=0):
        command = [sys.executable, __file__, "--part", "step", "--case", case, "--what", what]
        command += ["--seeds", str(seed)] + (["--data", options.data] if options.data else [])
        lines = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
        return json.loads(lines.stdout.splitlines()[-1])

    fixed = [measured("fixed", seed) for seed in range(3)]
    mean = {key: fmean(f[key] for f in fixed) for key in fixed[0]}
    for what in ("single path", "first order", "second order"):
        found = measured(what)
        line = record.write(
            "oneshot_cost",
            what,
            case,
            0,
            found["step_ms"] / mean["step_ms"],
            memory=found["memory_mib"] / mean["memory_mib"],
            **found,
            fixed_step_ms=mean["step_ms"],
            fixed_memory_mib=mean["memory_mib"],
        )
        print(line, flush=True)


def main():
    options = record.arguments(
        __doc__,
        seeds=5,
        epochs=20,
        retrain=30,
        case="",
        methods="",
        part="search",
        what="",
        first=0,
    )
    if options.part == "step":
        step_cost(options.case, options.what, options)
        return
    lines = []
    for data in ("digits", "MNIST 5k"):
        arrays = arrays_of(data, options.data)
        if arrays is None:
            continue
        task = task_of(arrays)
        for name, space in spaces().items():
            case = f"{data}, {name}"
            if options.case not in case:
                continue
            if options.part == "cost":
                costs(case, options)
                continue
            net = space.supernet(task.input_shape, 10, "softmax")  # to count operations
            chance = random_ones(case, space, net, task, arrays, options)
            lines += chance
            mean = fmean(r["value"] for r in chance)
            methods = options.methods.split("; ") if options.methods else list(SEARCHES)
            seeds = range(options.first, options.first + options.seeds)
            known = {(r["data"], r["method"], r["seed"]): r for r in record.read("oneshot")}
            for seed, method in itertools.product(seeds, methods):
                line = known.get((case, method, seed))
                if line is None:  # what was measured before is not measured again
                    line = searched(case, space, net, task, arrays, options, method, seed, mean)
                    print({k: v for k, v in line.items() if k != "counts"}, flush=True)
                lines.append(line)
    columns = {"value": 4, "points": 2, "skip_share": 2, "n_params": 0, "cpu_seconds": 0}
    print(record.table(lines, columns))


if __name__ == "__main__":
    main()
