"""Evaluation without training: the score is a proxy of one batch."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from autokit._backend import keras
from autokit.names import by_name
from autokit.nas.evaluators.proxies import PROXIES
from autokit.nas.evaluators.train import Task
from autokit.nas.hardware.costs import count_flops
from autokit.nas.protocols import Budget, Evaluation
from autokit.training import Batch, seeded
from autokit.training.objectives import make_loss

Proxy = Callable[[keras.Model, Batch, keras.losses.Loss], float]


@dataclass
class ZeroCostEvaluator:
    """Judge an architecture by an untrained network of it.

    The network is built with outputs before the activation (logits), with the seed of the trial,
    asked once, and thrown away. All architectures meet the same rows.

    Parameters
    ----------
    space : SearchSpace
    task : Task
        Rows are drawn from its training part.
    proxy : str or callable, default="synflow"
        One of `autokit.nas.evaluators.PROXIES`, each of which tells its measured rank
        correlation, or a function ``(model, batch, loss) -> float``, higher is better. "synflow"
        takes any network; "naswot", which ranked cells best, needs ReLUs.
    n_rows : int, default=32
        Rows of the batch, fewer if the task has fewer.
    seed : int, default=0
        Draws the rows.

    Raises
    ------
    ValueError
        If the proxy is unknown.
    """

    space: Any
    task: Task
    proxy: str | Proxy = "synflow"
    n_rows: int = 32
    seed: int = 0

    def __post_init__(self):
        self.function  # noqa: B018

    def __call__(self, architecture, budget: Budget) -> Evaluation:
        """Build and ask the proxy; the budget's epochs and deadline play no part.

        Raises
        ------
        ValueError
            If the proxy answers no finite number: the network tells no rows apart.
        """
        started = time.monotonic()
        task = self.task
        with seeded(budget.seed):
            model = self.space.build(architecture, task.input_shape, task.n_outputs, "linear")
        built = time.monotonic()
        value = float(self.function(model, self.batch, self.loss))
        if not math.isfinite(value):
            raise ValueError(f"the proxy is {value}: the network does not tell rows apart.")
        return Evaluation(
            number=-1,
            architecture=architecture,
            score=value,
            loss=None,
            status="complete",
            seconds=time.monotonic() - started,
            n_params=int(model.count_params()),
            setup_seconds=built - started,
            flops=count_flops(model),
            seed=budget.seed,
        )

    @property
    def function(self) -> Proxy:
        """The proxy itself."""
        if callable(self.proxy):
            return self.proxy
        return by_name("proxy", self.proxy, PROXIES, "a function (model, batch, loss) -> float")

    @functools.cached_property
    def batch(self) -> Batch:
        """The rows that every network is asked about."""
        rows = self.task.train
        chosen = np.random.default_rng(self.seed).permutation(len(rows))[: self.n_rows]
        return rows.take(np.sort(chosen))

    @functools.cached_property
    def loss(self) -> keras.losses.Loss:
        """The task's loss, of logits where it knows them."""
        loss = make_loss(self.task.loss)
        config = loss.get_config()
        if "from_logits" not in config:
            return loss
        return type(loss).from_config({**config, "from_logits": True})
