"""What the loss would rise by without a weight, told from its curvature at the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from autokit._backend import keras, tf
from autokit.compression.kernels import Kernel
from autokit.training import Batch, hessian_vector_product, task_objective, value_and_gradient
from autokit.training.objectives import Step, TensorBatch

# exact second derivatives take a pass for each weight; the inverse also n^2 memory, n^3 time
MAX_DIAGONAL, MAX_INVERSE = 10_000, 2048
BATCH_ROWS = 256  # rows of one pass: bounds the activations' memory
_PROBE_ROWS = 32  # fewer rows a probe are more independent probes at the same cost


class Curvature:
    """Second derivatives of a model's loss in its kernels, at the weights it has when asked.

    Dropout and batch normalisation are frozen. Functions are compiled once.

    Parameters
    ----------
    model : keras.Model
    loss : keras.losses.Loss
    data : Batch
        Rows to average over.
    kernels : sequence of Kernel
    seed : int, default=0
        Of the probes.
    """

    def __init__(self, model, loss, data: Batch, kernels: Sequence[Kernel], seed: int = 0):
        self._model, self._loss, self._data, self._kernels = model, loss, data, list(kernels)
        self._rng = np.random.default_rng(seed)
        self._objective = task_objective(model, loss, training=False)
        places = {id(v): i for i, v in enumerate(model.trainable_variables)}
        self._params = [places[id(model.variables[k.place])] for k in self._kernels]
        self._compiled: dict[Any, Callable] = {}

    def diagonal(self) -> list[np.ndarray]:
        """The Hessian's diagonal, exactly: an entry of its product with each unit vector.

        Returns
        -------
        list of np.ndarray
            Of the kernels' shapes.

        Raises
        ------
        ValueError
            If a kernel is too large for it.
        """
        for kernel in self._kernels:
            _check_size(kernel, "diagonal", MAX_DIAGONAL)
        return [
            self._exact(i, lambda product, at: product[at]).reshape(kernel.shape)
            for i, kernel in enumerate(self._kernels)
        ]

    def block(self, kernel: Kernel) -> np.ndarray:
        """The Hessian of one kernel in itself, exactly, of shape (size, size).

        Raises
        ------
        ValueError
            If the kernel is too large for it.
        """
        _check_size(kernel, "inverse_hessian", MAX_INVERSE)
        found = self._exact(self._kernels.index(kernel), lambda product, at: product)
        return (found + found.T) / 2

    def hutchinson(self, n_probes: int) -> list[np.ndarray]:
        """An estimate of the diagonal, ``mean_z(z * H z)`` with z of random signs.

        Parameters
        ----------
        n_probes : int

        Returns
        -------
        list of np.ndarray
            Of the kernels' shapes; unbiased, with a variance of ``sum_{j != k} H_kj^2 / n_probes``.
        """

        def probe(params, buffers, batch, seed):
            shapes = [k.shape for k in self._kernels]
            signs = [_signs(shape, seed, i) for i, shape in enumerate(shapes)]
            product = hessian_vector_product(self._objective)
            found = product(params, buffers, batch, self._vector(params, signs))
            return [z * found[p] for z, p in zip(signs, self._params, strict=True)]

        return self._mean("hutchinson", probe, n_probes, BATCH_ROWS)

    def gauss_newton(self, n_probes: int) -> list[np.ndarray]:
        """An estimate of the diagonal without the model's own curvature, never negative.

        ``diag(J^T H_out J)``, with J the outputs' derivatives and H_out the loss's Hessian in
        them (LeCun's Levenberg-Marquardt form), as the mean of squared gradients at targets that
        are drawn from the model's own answers.

        Parameters
        ----------
        n_probes : int
            Passes over the rows, in batches of 32 that are a probe each.

        Returns
        -------
        list of np.ndarray
            Of the kernels' shapes.

        Raises
        ------
        ValueError
            If targets cannot be drawn for the loss: it is no cross-entropy and no squared error.
        """

        def probe(params, buffers, batch, seed):
            outputs, _ = self._model.stateless_call(params, buffers, batch.x, training=False)
            outputs = tf.cast(outputs, tf.float32)
            targets, factor = _drawn(self._loss, outputs, seed)
            # the squares of gradients have the squares of weights
            root = None if batch.weight is None else tf.sqrt(batch.weight)
            drawn = TensorBatch(batch.x, targets, root)
            _, gradients = value_and_gradient(self._data_loss)(params, buffers, drawn)
            return [factor * tf.square(gradients[p]) for p in self._params]

        return self._mean("gauss_newton", probe, n_probes, _PROBE_ROWS)

    def _data_loss(self, params, buffers, batch):
        # without penalties: they would add the square of their own gradient
        outputs, buffers = self._model.stateless_call(params, buffers, batch.x, training=False)
        return Step(self._loss(batch.y, outputs, sample_weight=batch.weight), buffers, outputs)

    def _vector(self, params, parts):
        vector = [tf.zeros_like(p) for p in params]
        for place, part in zip(self._params, parts, strict=True):
            vector[place] = tf.cast(part, params[place].dtype)
        return vector

    def _exact(self, index: int, pick) -> np.ndarray:
        """What `pick` takes of the Hessian's product with each unit vector of one kernel."""
        kernel, place = self._kernels[index], self._params[index]
        product = hessian_vector_product(self._objective)

        def rows(params, buffers, batch, seed):
            def row(at):
                vector = [tf.zeros_like(p) for p in params]
                vector[place] = tf.reshape(
                    tf.one_hot(at, kernel.size, dtype=params[place].dtype), kernel.shape
                )
                found = product(params, buffers, batch, vector)[place]
                return pick(tf.cast(tf.reshape(found, [-1]), tf.float32), at)

            every = tf.range(kernel.size)
            return [tf.map_fn(row, every, fn_output_signature=tf.float32, parallel_iterations=1)]

        return self._mean((index, pick.__code__), rows, 1, BATCH_ROWS)[0]

    def _mean(self, key, probe, n_probes: int, n_rows: int) -> list[np.ndarray]:
        """Mean of what a probe gives over all rows, n_probes times."""
        if key not in self._compiled:
            self._compiled[key] = tf.function(probe, autograph=False, reduce_retracing=True)
        run, data = self._compiled[key], self._data
        params = [tf.convert_to_tensor(v.value) for v in self._model.trainable_variables]
        buffers = [tf.convert_to_tensor(v.value) for v in self._model.non_trainable_variables]
        total: Any = 0.0
        for _ in range(n_probes):
            for start in range(0, len(data), n_rows):
                piece = slice(start, start + n_rows)
                weight = None if data.weight is None else tf.constant(data.weight[piece])
                batch = TensorBatch(tf.constant(data.x[piece]), tf.constant(data.y[piece]), weight)
                seed = tf.constant(self._rng.integers(1 << 31, size=2), tf.int32)
                found = run(params, buffers, batch, seed)
                share = int(batch.x.shape[0]) / (len(data) * n_probes)
                found = [share * f.numpy() for f in found]
                total = (
                    found if total == 0.0 else [t + f for t, f in zip(total, found, strict=True)]
                )
        return total


def deletion_costs(weights: np.ndarray, diagonal: np.ndarray) -> np.ndarray:
    """Optimal Brain Damage: ``h_kk w_k^2 / 2``, the loss that deleting a weight costs.

    Parameters
    ----------
    weights, diagonal : np.ndarray of one shape

    Returns
    -------
    np.ndarray

    References
    ----------
    LeCun, Denker, Solla, "Optimal Brain Damage", 1989, equation 5.
    """
    return 0.5 * diagonal * np.square(weights)


def surgeon_costs(weights: np.ndarray, hessian: np.ndarray, damping: float) -> np.ndarray:
    """Optimal Brain Surgeon: ``w_k^2 / (2 [H^-1]_kk)``, the cost if the others adapt at best.

    Parameters
    ----------
    weights : np.ndarray of n numbers
    hessian : np.ndarray of shape (n, n)
        Negative eigenvalues count as zero: training has not come to rest there.
    damping : float
        Added to the eigenvalues, as a share of their mean magnitude.

    Returns
    -------
    np.ndarray
        Of the weights' shape.

    References
    ----------
    Hassibi and Stork, "Optimal Brain Surgeon", 1993, equation 5.
    """
    eigenvalues, vectors = np.linalg.eigh(hessian.astype(np.float64))
    floor = damping * max(np.abs(eigenvalues).mean(), 1e-12)
    inverse = np.square(vectors) @ (1.0 / (np.maximum(eigenvalues, 0.0) + floor))
    return (0.5 * np.square(weights.reshape(-1)) / inverse).reshape(weights.shape)


def _signs(shape, seed, i):
    draws = tf.random.stateless_uniform(shape, seed + i, 0, 2, tf.int32)
    return tf.cast(2 * draws - 1, tf.float32)


def _drawn(loss, outputs, seed):
    """Targets from the model's own answers, and what squared gradients are to be multiplied by.

    The factor is the count of draws, which the loss is the mean over.
    """
    losses = keras.losses
    n_numbers = tf.cast(tf.size(outputs), tf.float32)
    is_logits = bool(loss.get_config().get("from_logits"))
    if isinstance(loss, losses.SparseCategoricalCrossentropy | losses.CategoricalCrossentropy):
        n_classes = outputs.shape[-1]
        logits = outputs if is_logits else tf.math.log(tf.maximum(outputs, 1e-7))
        logits = tf.reshape(logits, [-1, n_classes])
        chosen = tf.random.stateless_categorical(logits, 1, seed, tf.int32)
        chosen = tf.reshape(chosen, tf.shape(outputs)[:-1])
        if isinstance(loss, losses.CategoricalCrossentropy):
            chosen = tf.one_hot(chosen, n_classes)
        return chosen, n_numbers / n_classes
    if isinstance(loss, losses.BinaryCrossentropy):
        chance = tf.sigmoid(outputs) if is_logits else outputs
        return tf.cast(_uniform(outputs, seed) < chance, tf.float32), n_numbers
    if isinstance(loss, losses.MeanSquaredError):
        # a variance of 1/2 gives the gradient 2 e the covariance 2 of the Hessian
        return outputs + tf.random.stateless_normal(tf.shape(outputs), seed) / 2**0.5, n_numbers
    raise ValueError(
        f"saliency='gauss_newton' knows cross-entropies and the squared error, not a "
        f"{type(loss).__name__}; use saliency='hutchinson'."
    )


def _uniform(like, seed):
    return tf.random.stateless_uniform(tf.shape(like), seed)


def _check_size(kernel: Kernel, saliency: str, limit: int) -> None:
    if kernel.size > limit:
        raise ValueError(
            f"saliency={saliency!r} is exact and for kernels of up to {limit} numbers; "
            f"{kernel.path} has {kernel.size}. Use saliency='gauss_newton' or 'hutchinson', or "
            "leave it out by layers=."
        )
