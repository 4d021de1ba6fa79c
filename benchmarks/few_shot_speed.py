"""How many training tasks a CPU second, ours and by plain PyTorch, one thread each.

"maml": 5 classes, 1 support row and 5 queries of each, Conv4-64 with strides on 28 x 28, 32 tasks
a step, 1 inner step; "prototypical": 20 classes, 1 support row and 5 queries, Conv4-64 with max
pooling. `value` is tasks per CPU second, `times_torch` ours as a multiple of PyTorch's better
one of the same round.

Ours is `FewShotLearner.fit`: the difference of a long and a short training, which leaves out
tracing and the adaptation in the end. "transductive" normalises queries by their own statistics,
as the plain PyTorch version does; by default statistics of the support set are taken once more.
PyTorch takes gradients through `functional_call`, over tasks by `vmap` or one by one. It is left
out where it is not installed (``pip install torch``). Omniglot's images, or noise without them.
"""

from __future__ import annotations

import os

os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
os.environ["TF_NUM_INTEROP_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import time
from importlib.util import find_spec

import numpy as np
import record

QUESTION = "few_shot_speed"
META_BATCH, INNER_RATE = 32, 0.4
# tasks of the short and of the long training
MAML_TASKS, PROTO_TASKS = (META_BATCH, 11 * META_BATCH), (5, 55)
MAML_DATA = "MAML, 5-way 1-shot"
PROTO_DATA = "prototypical, 20-way 1-shot"


def images(path, n_classes: int = 100):
    """Rows of `n_classes` characters, and their labels."""
    y = np.repeat(np.arange(n_classes), 20)
    if path is None:
        return np.random.default_rng(0).random((len(y), 28, 28), np.float32), y
    with np.load(path) as file:
        return np.float32(file["x"][: len(y)]) / 255, y


def ours(X, y, sizes, **settings):
    """A function that measures tasks per CPU second of `FewShotLearner`, traced already."""
    from autokit import FewShotLearner

    def seconds(n_episodes):
        learner = FewShotLearner(n_query=5, n_episodes=n_episodes, random_state=0, **settings)
        clock = time.process_time()
        learner.fit(X, y)
        return time.process_time() - clock

    short, long = sizes
    seconds(short)
    return lambda: (long - short) / (seconds(long) - seconds(short))


def conv4_torch(strided: bool, n_outputs: int | None):
    """Conv4-64 whose normalisation always takes the rows' own statistics."""
    from torch import nn

    layers, n_in = [], 1
    for _ in range(4):
        layers += [
            nn.Conv2d(n_in, 64, 3, stride=2 if strided else 1, padding=1, bias=False),
            nn.BatchNorm2d(64, track_running_stats=False),
            nn.ReLU(),
        ]
        layers += [] if strided else [nn.MaxPool2d(2)]
        n_in = 64
    layers.append(nn.Flatten())
    if n_outputs:
        layers.append(nn.Linear(256, n_outputs))
    return nn.Sequential(*layers)


class Draws:
    """Tasks as tensors: rows of shape (n_tasks, n_way * n, 1, 28, 28)."""

    def __init__(self, X, n_way: int):
        import torch

        self.rows = torch.from_numpy(X).reshape(-1, 20, 1, 28, 28)
        self.n_way, self.rng, self.torch = n_way, np.random.default_rng(0), torch

    def __call__(self, n_tasks):
        support, query = [], []
        for _ in range(n_tasks):
            ways = self.rng.permutation(len(self.rows))[: self.n_way]
            shots = self.rng.random((self.n_way, 20)).argsort(axis=1)[:, :6]
            task = self.rows[self.torch.from_numpy(ways)[:, None], self.torch.from_numpy(shots)]
            support.append(task[:, 0])
            query.append(task[:, 1:].reshape(-1, 1, 28, 28))
        return self.torch.stack(support), self.torch.stack(query)


def torch_maml(X, how: str, first_order: bool):
    """A function that measures tasks per CPU second of MAML in PyTorch."""
    import torch
    from torch.func import functional_call, vmap
    from torch.nn.functional import cross_entropy

    torch.manual_seed(0)
    network = conv4_torch(True, 5)
    params = dict(network.named_parameters())
    optimizer = torch.optim.Adam(params.values(), 1e-3)
    draw = Draws(X, 5)
    codes, asked = torch.arange(5), torch.arange(5).repeat_interleave(5)

    def loss_of(params, x, y):
        return cross_entropy(functional_call(network, params, (x,)), y)

    def task_by_grad(params, support, query):
        slopes = torch.func.grad(loss_of)(params, support, codes)
        if first_order:
            slopes = {k: g.detach() for k, g in slopes.items()}
        return loss_of({k: p - INNER_RATE * slopes[k] for k, p in params.items()}, query, asked)

    def task_by_tape(support, query):
        loss = loss_of(params, support, codes)
        slopes = torch.autograd.grad(loss, list(params.values()), create_graph=not first_order)
        moved = {k: p - INNER_RATE * g for (k, p), g in zip(params.items(), slopes, strict=True)}
        return loss_of(moved, query, asked)

    def step():
        support, query = draw(META_BATCH)
        optimizer.zero_grad()
        if how == "vmap":
            vmap(task_by_grad, (None, 0, 0))(params, support, query).mean().backward()
        else:
            for one in zip(support, query, strict=True):
                (task_by_tape(*one) / META_BATCH).backward()
        optimizer.step()

    def measure():
        n_steps = (MAML_TASKS[1] - MAML_TASKS[0]) // META_BATCH // (2 if how == "vmap" else 1)
        clock = time.process_time()
        for _ in range(n_steps):
            step()
        return n_steps * META_BATCH / (time.process_time() - clock)

    step()
    return measure


def torch_prototypical(X):
    """A function that measures tasks per CPU second of prototypical networks in PyTorch."""
    import torch
    from torch.nn.functional import cross_entropy

    torch.manual_seed(0)
    network = conv4_torch(False, None)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    draw, asked = Draws(X, 20), torch.arange(20).repeat_interleave(5)

    def step():
        support, query = (part[0] for part in draw(1))
        optimizer.zero_grad()
        prototypes, embedded = network(torch.cat([support, query])).split([20, 100])
        cross_entropy(-torch.cdist(embedded, prototypes).square(), asked).backward()
        optimizer.step()

    def measure():
        n = PROTO_TASKS[1] - PROTO_TASKS[0]
        clock = time.process_time()
        for _ in range(n):
            step()
        return n / (time.process_time() - clock)

    step()
    return measure


def contenders(X, y):
    """From a data set and a name to what measures it."""
    five = {"n_way": 5, "meta_batch_size": META_BATCH, "inner_learning_rate": INNER_RATE}
    twenty = {"method": "prototypical", "n_way": 20}
    table = {
        (MAML_DATA, "maml"): ours(X, y, MAML_TASKS, method="maml", **five),
        (MAML_DATA, "maml, transductive"): ours(
            X, y, MAML_TASKS, method="maml", transductive=True, **five
        ),
        (f"{MAML_DATA}, first order", "fomaml"): ours(X, y, MAML_TASKS, method="fomaml", **five),
        (f"{MAML_DATA}, first order", "fomaml, transductive"): ours(
            X, y, MAML_TASKS, method="fomaml", transductive=True, **five
        ),
        (PROTO_DATA, "prototypical"): ours(X, y, PROTO_TASKS, **twenty),
    }
    if find_spec("torch"):
        import torch

        torch.set_num_threads(1)
        for first_order in (False, True):
            data = MAML_DATA + ", first order" * first_order
            for how in ("vmap", "loop"):
                table[data, f"torch, {how}"] = torch_maml(X, how, first_order)
        table[PROTO_DATA, "torch"] = torch_prototypical(X)
    return table


def main():
    given = record.arguments(__doc__, seeds=1, repeats=3)
    X, y = images(record.data_file(given.data, "fewshot/omniglot_28.npz"))
    table = contenders(X, y)
    found: dict = {key: [] for key in table}
    for _ in range(given.repeats):
        for key, measure in table.items():
            found[key].append(measure())
            print(*key, f"{found[key][-1]:.1f}", sep="  ", flush=True)
    lines = []
    for data, method in sorted(found):
        peers = [v for (d, m), v in found.items() if d == data and m.startswith("torch")]
        for repeat, value in enumerate(found[data, method]):
            best = max((values[repeat] for values in peers), default=None)
            times = value / best if peers and not method.startswith("torch") else None
            more = {"times_torch": times, "omniglot": given.data is not None}
            lines.append(record.write(QUESTION, method, data, repeat, value, **more))
    print(record.table(lines, {"value": 1, "times_torch": 2}))


if __name__ == "__main__":
    main()
