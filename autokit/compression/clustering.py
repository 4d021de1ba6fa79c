"""Clustering: the weights of a kernel share a few values."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from autokit.compression import tfmot
from autokit.compression.kernels import Layers, select_kernels
from autokit.compression.method import CompressionMethod, Outcome, as_verb
from autokit.compression.task import Task
from autokit.training import Held

_LLOYD_STEPS = 20


@dataclass(kw_only=True, eq=False, repr=False)
class Cluster(CompressionMethod):
    """Let the weights of each kernel share `n_clusters` values, with TFMOT's centroids.

    ::

        c = TFMOT's first centroids, then Lloyd's steps: c_j = mean of the weights nearest to it
        w = c[nearest]
        tuning: after each step, w = mean of the cluster that it belongs to

    Raw bytes stay what they are; zipped ones fall, as a kernel then holds few distinct numbers.
    Zeros of a pruned kernel are one of the values and stay zeros.

    Parameters
    ----------
    n_clusters : int >= 2, default=16
        Distinct values in each kernel, zero included; a kernel that has no more stays as it is.
    initialization : {"kmeans++", "linear", "density"}, default="kmeans++"
        Of the centroids, as TFMOT has them.
    layers : "auto" or callable, default="auto"
        As for `Prune`.
    epochs : int, default=10
        Of tuning the centroids.
    batch_size, learning_rate, validation_fraction, max_score_drop, random_state
        As for `CompressionMethod`.

    Raises
    ------
    ValueError
        If a parameter is out of range, or no kernel is chosen.
    ImportError
        If tensorflow-model-optimization lacks the parts this needs.

    References
    ----------
    Han, Mao, Dally, "Deep Compression", 2016, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from autokit import KerasClassifier
    >>> from autokit.compression import cluster
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = KerasClassifier(epochs=2, random_state=0).fit(X, y)
    >>> small = cluster(model, X, y, n_clusters=8, epochs=1)
    >>> len(np.unique(small.model_.get_layer("outputs").kernel.numpy()))
    8
    """

    n_clusters: int = 16
    initialization: str = "kmeans++"
    layers: Layers = "auto"

    _parameter_constraints = CompressionMethod._parameter_constraints | {
        "n_clusters": [Interval(Integral, 2, None, closed="left")],
        "initialization": [StrOptions(set(tfmot.INITIALIZATIONS))],
        "layers": [StrOptions({"auto"}), callable],
    }

    def _compress(self, task: Task) -> Outcome:
        chosen, left_alone = select_kernels(task.model, self.layers)
        variables = task.model.variables
        zeros = set(task.held.zeros)
        for kernel in chosen:
            value = variables[kernel.place].value.numpy()
            if (value == 0).any():
                zeros.add(kernel.place)
            shared = cluster_values(value, int(self.n_clusters), self.initialization)
            variables[kernel.place].assign(shared)
        places = {kernel.place for kernel in chosen}.union(task.held.clusters)
        task.held = Held(zeros=tuple(sorted(zeros)), clusters=tuple(sorted(places)))
        task.tune(self.epochs)
        details: dict[str, Any] = {
            "n_clusters": {
                k.path: len(np.unique(variables[k.place].value.numpy())) for k in chosen
            },
            "left_alone": left_alone,
        }
        return Outcome(task.model, task.held, details)


cluster = as_verb(Cluster, "cluster", "Let the weights of each kernel share a few values.")


def cluster_values(values: np.ndarray, n_clusters: int, initialization: str) -> np.ndarray:
    """The nearest array that has at most so many distinct values; its zeros are the old ones.

    Parameters
    ----------
    values : np.ndarray of float
    n_clusters : int
        Met exactly if there are as many distinct values.
    initialization : {"kmeans++", "linear", "density"}

    Returns
    -------
    np.ndarray
        Of the same shape and dtype.
    """
    distinct = np.unique(values)
    if len(distinct) <= n_clusters:
        return values
    centroids = tfmot.initial_centroids(values, n_clusters, initialization)
    moving = values.reshape(-1).astype(np.float32)
    n_free = n_clusters - int((moving == 0).any())
    taken = moving != 0
    moving, centroids = moving[taken], centroids[centroids != 0][:n_free]
    for _ in range(_LLOYD_STEPS):
        centroids = _filled(moving, centroids, n_free)
        place = tfmot.nearest(moving, centroids)
        sums = np.bincount(place, moving, minlength=n_free)
        centroids = np.sort(sums / np.maximum(np.bincount(place, minlength=n_free), 1))
        centroids = centroids.astype(np.float32)
    centroids = _filled(moving, centroids, n_free)
    shared = np.zeros(values.size, values.dtype)
    shared[taken] = centroids[tfmot.nearest(moving, centroids)]
    return shared.reshape(values.shape)


def _filled(values: np.ndarray, centroids: np.ndarray, count: int) -> np.ndarray:
    """So many centroids that each are nearest to a value: empty ones go where the error is."""
    centroids = np.unique(centroids)
    while True:
        place = tfmot.nearest(values, centroids)
        error = np.abs(values - centroids[place])
        centroids = centroids[np.bincount(place, minlength=len(centroids)) > 0]
        if len(centroids) == count:
            return centroids
        centroids = np.unique(np.append(centroids, values[error.argmax()]))
