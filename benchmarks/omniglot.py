"""Few-shot accuracy on Omniglot after meta-training, by the papers' protocol.

1,200 characters for training, drawn by the seed, with three quarter turns of each as classes of
their own; 423 for the test, 1,000 tasks of one support row and five queries a class. Conv4-64;
max pooling where embeddings are compared, strides in the MAML family. Prototypical and matching
networks are trained on more classes than they are tested on, and serve both tests.

`value` is the accuracy, `half_width` that of its 95 % interval. Statistics of the queries are used
where `data` says transductive, as by all of the MAML family in its papers. Figures are taken at
several numbers of episodes, so that the learning curve can be drawn (``--plot curve.png``). Goes on
where it stopped: a training is kept in ``--storage``.

The paper's training is 10 to 100 times as long: see `episodes` and `cpu_seconds`.

``--alphabets 1`` trains on the background alphabets and tests as Lake et al. (2015) do: twenty
characters of one unseen alphabet, a row of each by one drawer to `adapt` to, and one by another
drawer to be told. Their 20 runs are fixed; these 400 are drawn in the same way.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import record

QUESTION = "omniglot"
N_TRAIN, N_TEST_TASKS = 1200, 1000
PUBLISHED = {  # 5-way and 20-way, 1 shot
    "prototypical": (98.8, 96.0),
    "matching": (98.1, 93.8),
    "maml": (98.7, 95.8),
    "fomaml": (98.3, 89.4),
    "reptile": (97.7, 89.4),
    "meta_sgd": (99.5, 95.9),
}


@dataclass(frozen=True)
class Plan:
    """How a method is trained, and what it is tested on."""

    method: str
    stages: tuple[int, ...]  # numbers of episodes at which it is tested
    ways: tuple[int, ...] = (5, 20)
    settings: dict = field(default_factory=dict)
    cooling: int = 0  # episodes after the last stage, at a tenth of the rate


# A quarter of the papers' meta-batch, and two queries a class: more steps in the same time.
_STEP_5 = {
    "n_way": 5,
    "n_query": 2,
    "meta_batch_size": 8,
    "inner_steps": 1,
    "adaptation_steps": 3,
}
_RATE = {"inner_learning_rate": 0.4}
_STEP_20 = {"n_way": 20, "meta_batch_size": 4, "inner_steps": 5}
PLANS = {
    "prototypical": Plan("prototypical", (500, 1000, 2000, 4000, 6000), settings={"n_way": 60}),
    "matching": Plan("matching", (500, 1000, 2000, 4000, 6000), settings={"n_way": 60}),
    "finetune": Plan("finetune", (500, 1000, 2000, 3000), settings={"n_way": 60}),
    "maml": Plan(
        "maml", (16000, 32000, 64000, 128000, 192000), (5,), _STEP_5 | _RATE, cooling=16000
    ),
    "fomaml": Plan("fomaml", (16000, 32000, 64000, 128000), (5,), _STEP_5 | _RATE, cooling=16000),
    "anil": Plan("anil", (16000, 32000, 64000), (5,), _STEP_5 | _RATE, cooling=16000),
    "meta_sgd": Plan("meta_sgd", (16000, 32000, 64000, 128000), (5,), _STEP_5, cooling=16000),
    "reptile": Plan("reptile", (20000,), (5,), {"n_way": 5, "n_query": 9}),
    "maml, 20-way": Plan(
        "maml", (4000, 8000, 16000), (20,), _STEP_20 | {"inner_learning_rate": 0.1}
    ),
    "fomaml, 20-way": Plan(
        "fomaml", (4000, 8000, 16000), (20,), _STEP_20 | {"inner_learning_rate": 0.1}
    ),
    "meta_sgd, 20-way": Plan("meta_sgd", (4000, 8000, 16000), (20,), _STEP_20 | {"inner_steps": 1}),
    "reptile, 20-way": Plan(
        "reptile", (4000,), (20,), {"n_way": 20, "n_query": 9, "inner_shots": 1, "inner_steps": 10}
    ),
}


def omniglot(path: Path) -> np.ndarray:
    """Images of shape (character, drawer, 28, 28), ink 1."""
    with np.load(path) as file:
        return file["x"].reshape(-1, 20, 28, 28)


def split(path: Path, seed: int):
    """Rows and labels of the training and of the test characters."""
    images = omniglot(path)
    order = np.random.default_rng(seed).permutation(len(images))
    parts = []
    for chosen in (order[:N_TRAIN], order[N_TRAIN:]):
        x = images[chosen].reshape(-1, 28, 28)
        parts += [x, np.repeat(chosen, 20)]
    return parts


def within_alphabets(path: Path, seed: int, n_episodes: int, n_runs: int = 400) -> None:
    """One-shot classification among the characters of one alphabet, with `adapt`."""
    from autokit import FewShotLearner

    with np.load(path) as file:
        images, parts = file["x"], {k: file[k] for k in ("alphabet", "split")}
    images = images.reshape(-1, 20, 28, 28)
    alphabet, part = (parts[k].reshape(-1, 20)[:, 0] for k in ("alphabet", "split"))
    known = part == 0
    X, y = images[known].reshape(-1, 28, 28), np.repeat(np.flatnonzero(known), 20)
    learner = FewShotLearner(
        n_way=60, n_episodes=n_episodes, augment="rotations", random_state=seed
    )
    with record.measured() as cost:
        learner.fit(X, y)
    rng = np.random.default_rng(seed)
    large = [a for a in np.unique(alphabet[~known]) if (alphabet == a).sum() >= 20]
    scores = []
    for _ in range(n_runs):
        characters = rng.permutation(np.flatnonzero(alphabet == rng.choice(large)))[:20]
        one, other = rng.permutation(20)[:2]
        told = learner.adapt(images[characters, one], characters)
        scores.append(told.score(images[characters, other], characters))
    half = 1.96 * np.std(scores, ddof=1) / n_runs**0.5
    data = "20-way 1-shot within alphabets"
    record.write(QUESTION, "prototypical", data, seed, float(np.mean(scores)),
                 half_width=float(half), episodes=n_episodes, **cost)  # fmt: skip
    print(f"{data}: {np.mean(scores):.4f} ± {half:.4f}")


def run(path: Path, name: str, transductive: bool, seed: int, folder: Path, stages) -> None:
    """Train stage by stage, and test after each."""
    from autokit import FewShotLearner

    plan = PLANS[name]
    X, y, X_test, y_test = split(path, seed)
    storage = folder / f"omniglot {name} {transductive} {seed}.training"
    clock = storage.with_suffix(".json")
    spent = json.loads(clock.read_text()) if clock.exists() else {"cpu_seconds": 0.0}
    rates = dict.fromkeys(stages or plan.stages)
    if plan.cooling:
        rates[max(rates) + plan.cooling] = 1e-4
    for n_episodes, rate in rates.items():
        learner = FewShotLearner(
            plan.method,
            augment="rotations",
            transductive=transductive,
            n_episodes=n_episodes,
            outer_learning_rate=rate,
            storage=storage,
            random_state=seed,
            **plan.settings,
        )
        with record.measured() as cost:
            learner.fit(X, y)
        spent = {k: spent.get(k, 0.0) + cost[k] for k in cost}
        clock.write_text(json.dumps(spent))
        for n_way in plan.ways:
            scores = learner.evaluate(X_test, y_test, n_way=n_way, n_episodes=N_TEST_TASKS)
            data = f"{n_way}-way 1-shot{', transductive' * scores.transductive}"
            record.write(
                QUESTION,
                plan.method,
                data,
                seed,
                scores.mean,
                half_width=scores.half_width,
                episodes=n_episodes,
                settings=plan.settings,
                **spent,
            )
            print(f"{name:18}{data:30}{n_episodes:8} {scores}  {spent['cpu_seconds']:.0f} CPU s",
                  flush=True)  # fmt: skip


def plot(path: str) -> None:
    """Draw accuracy over CPU minutes of training."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines, order = record.read(QUESTION), [*PUBLISHED, "anil", "finetune"]
    kinds = ("5-way", "20-way")
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.5), sharey=False)
    for axis, kind in zip(axes, kinds, strict=True):
        groups: dict = {}
        for line in lines:
            if line["data"].startswith(kind):
                label = line["method"] + line["data"].removeprefix(f"{kind} 1-shot")
                groups.setdefault((label, line["seed"]), []).append(line)
        for (label, _), points in sorted(groups.items()):
            minutes = [p["cpu_seconds"] / 60 for p in points]
            values, colour = (
                [100 * p["value"] for p in points],
                f"C{order.index(points[0]['method'])}",
            )
            axis.plot(minutes, values, marker="o", label=label, color=colour)
        axis.set(title=f"Omniglot, {kind} 1-shot", xlabel="CPU minutes", ylabel="accuracy, %")
        axis.set_xscale("log")
        axis.set_xticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def main() -> None:
    given = record.arguments(
        __doc__,
        seeds=1,
        first=0,
        methods="",
        transductive=0,
        stages="",
        storage="",
        plot="",
        alphabets=0,
    )
    if given.plot:
        plot(given.plot)
        return
    path = record.data_file(given.data, "fewshot/omniglot_28.npz")
    if path is None:
        sys.exit(1)
    if given.alphabets:
        within_alphabets(path, given.first, int(given.stages or 2000))
        return
    folder = Path(given.storage or tempfile.mkdtemp())
    names = [m.strip() for m in given.methods.split(";") if m] or list(PLANS)
    stages = tuple(int(n) for n in given.stages.split())
    for seed in range(given.first, given.first + given.seeds):
        for name in names:
            run(path, name, bool(given.transductive), seed, folder, stages)


if __name__ == "__main__":
    main()
