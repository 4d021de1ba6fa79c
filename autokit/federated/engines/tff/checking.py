"""Whether TensorFlow Federated works."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from autokit.federated.engines.tff import environment


class _TwoClients:
    names, sizes = ["a", "b"], np.array([8, 4])

    def __init__(self) -> None:
        from autokit.training import Batch

        rng = np.random.default_rng(0)
        x = rng.normal(size=(12, 3)).astype(np.float32)
        y = (x.sum(axis=1, keepdims=True) + 1).astype(np.float32)
        self._data = Batch(x, y)

    def __len__(self) -> int:
        return 2

    def batch(self, client: int):
        return self._data.take(slice(0, 8) if client == 0 else slice(8, 12))


def check(where: str | os.PathLike | None = None) -> dict[str, Any]:
    """Start TensorFlow Federated, and run one round that has a known answer.

    Parameters
    ----------
    where : path-like or None, default=None
        The environment, if not `autokit.federated.engines.tff.environment.folder`.

    Returns
    -------
    dict of str to object
        Where it is, versions, seconds.

    Raises
    ------
    NotInstalled, EngineDied, RuntimeError
        It does not work; says why, and the command that mends it.
    """
    where = environment.folder() if where is None else Path(where).expanduser()
    mend = f"Remove {where} and run '{environment.COMMAND}'."
    if not environment.is_installed(where):
        raise environment.NotInstalled(
            f"TensorFlow Federated is not installed in {where}: run '{environment.COMMAND}' "
            f"({environment.COSTS})."
        )
    from autokit.federated.engines.tff.engine import TFFEngine
    from autokit.federated.engines.tff.process import EngineDied

    federation, state, expected = _known()
    begin = time.perf_counter()
    try:
        with TFFEngine(environment=where).open(federation, state) as run:
            ready = time.perf_counter()
            run.round(np.arange(2))
            done = time.perf_counter()
            versions, weights = run.versions, run.state.weights
    except (EngineDied, RuntimeError, ValueError) as error:
        raise type(error)(f"TensorFlow Federated does not work in {where}: {error}. {mend}") from (
            error
        )
    difference = float(np.abs(weights - expected).max())
    if not difference < 1e-5:
        raise RuntimeError(
            f"TensorFlow Federated in {where} is off by {difference:.2g} after a round. {mend}"
        )
    return {
        "environment": os.fspath(where),
        **{name.replace("_", " "): version for name, version in versions.items()},
        "start": f"{ready - begin:.1f} s",
        "first round": f"{done - ready:.1f} s",
        "difference": f"{difference:.1g} from what a round should give",
    }


def _known():
    """A federation of a linear model, and its weights after a round, by hand."""
    from autokit._backend import keras
    from autokit.federated.aggregators import Mean
    from autokit.federated.algorithms import FedAvg
    from autokit.federated.protocols import Federation, ServerState
    from autokit.federated.weights import WeightLayout

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    clients, rate = _TwoClients(), 0.1
    federation = Federation(
        model=model,
        loss=keras.losses.MeanSquaredError(),
        clients=clients,
        algorithm=FedAvg(),
        aggregator=Mean(),
        learning_rate=rate,
        local_epochs=1,
        batch_size=8,
        seed=0,
        layout=WeightLayout.of(model),
    )
    mean = np.zeros(4)
    for client in range(2):
        rows = clients.batch(client)
        inputs = np.column_stack([rows.x, np.ones(len(rows))]).astype(np.float64)
        mean += rate * 2 * inputs.T @ rows.y[:, 0] / 12  # one step from zero, by rows
    return federation, ServerState(np.zeros(4, np.float32)), mean
