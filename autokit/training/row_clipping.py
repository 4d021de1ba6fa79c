"""Sums of clipped gradients, one gradient a row.

Two ways to the same sum. *Vectorised*: every row's gradient is made, measured, cut and added, a
few rows at a time; for every network, whatever its layers do: each row is alone in its batch (and
those of one piece share the masks of dropout). *By layers*: a gradient's norm follows from what
goes into each layer and the gradient of what comes out, so that no row's gradient is ever written
down; a second backward pass, with each row's loss times its cut, gives the sum. For networks of
known layers, several times as fast.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from autokit._backend import keras, tf
from autokit.training import row_norms
from autokit.training.gradients import value_and_gradient
from autokit.training.objectives import Step, TensorBatch

# Gradients of so many bytes are made at once: those of few rows stay in the cache.
VECTORISED_BYTES = 32 << 20
BY_LAYERS_BYTES = 128 << 20


class ClippedSum(NamedTuple):
    """What the rows of a step give.

    Attributes
    ----------
    losses : tf.Tensor of shape (n_rows,)
    outputs : tf.Tensor of shape (n_rows, ...)
    norms : tf.Tensor of shape (n_rows,)
        Of the rows' gradients before they are cut.
    gradients : list of tf.Tensor
        ``sum_b g_b * min(1, clip / |g_b|)``, the norm over all parameters; a row whose gradient
        is not finite counts as zero.
    buffers : list of tf.Tensor
    """

    losses: Any
    outputs: Any
    norms: Any
    gradients: list
    buffers: list


def clipped_sum(
    model: keras.Model, loss: keras.losses.Loss, by_layers: bool | None = None
) -> Callable:
    """The function that sums clipped gradients.

    The losses are the loss's own with the activities' penalties; penalties on weights do not
    depend on rows and are left out, see `weight_penalty`.

    Parameters
    ----------
    model : keras.Model
    loss : keras.losses.Loss
    by_layers : bool or None, default=None
        None goes by layers where the network allows.

    Returns
    -------
    callable
        ``(params, buffers, batch, clip) -> ClippedSum``, for any number of rows, none included.
    """
    probe = row_norms.probe(model) if by_layers is not False else None
    if by_layers and probe is None:
        raise ValueError("The network has layers whose rows' norms are not known.")
    if probe is None:
        n_params = sum(int(v.shape.num_elements()) for v in model.trainable_variables)
        return _in_pieces(
            _vectorised(model, loss), model, max(1, VECTORISED_BYTES // (4 * max(1, n_params)))
        )
    rows = max(1, BY_LAYERS_BYTES // probe.row_bytes)
    return _in_pieces(_by_layers(probe, loss), model, rows)


def weight_penalty(model: keras.Model) -> Callable | None:
    """``params -> loss`` of the weights' regularisers; None if there are none."""
    regularizers = [getattr(v, "regularizer", None) for v in model.trainable_variables]
    if not any(regularizers):
        return None

    def penalty(params):
        pairs = zip(regularizers, params, strict=True)
        return tf.add_n([tf.cast(r(p), tf.float32) for r, p in pairs if r is not None])

    return penalty


def _in_pieces(piece, model, rows):
    out_shape = model.output_shape[1:]

    def summed(params, buffers, batch, clip):
        batch = TensorBatch(*batch)
        n_rows = tf.shape(batch.x)[0]

        def body(start, losses, outputs, norms, total, buffers):
            end = tf.minimum(start + rows, n_rows)
            part = TensorBatch(*(None if t is None else t[start:end] for t in batch))
            result = piece(params, buffers, part, clip)
            return (
                end,
                tf.concat([losses, result.losses], 0),
                tf.concat([outputs, tf.cast(result.outputs, tf.float32)], 0),
                tf.concat([norms, result.norms], 0),
                [t + g for t, g in zip(total, result.gradients, strict=True)],
                result.buffers,
            )

        start = (
            0,
            tf.zeros((0,)),
            tf.zeros((0, *(s or 1 for s in out_shape))),
            tf.zeros((0,)),
            [tf.zeros_like(p) for p in params],
            list(buffers),
        )
        shapes = tf.nest.map_structure(lambda t: tf.convert_to_tensor(t).shape, start)
        free = tf.TensorShape([None])
        shapes = (shapes[0], free, tf.TensorShape([None, *out_shape]), free, *shapes[4:])
        # one piece at a time: its gradients are what fits into the cache
        _, *result = tf.while_loop(
            lambda start, *_: start < n_rows, body, start, shapes, parallel_iterations=1
        )
        result = ClippedSum(*result)
        return result._replace(losses=_of_finite(result.losses, result.norms, params))

    return summed


def _vectorised(model, loss):
    penalty = weight_penalty(model)
    has_state = bool(model.non_trainable_variables)

    def objective(params, buffers, row):
        outputs, _, penalties = model.stateless_call(
            params, buffers, row.x, training=True, return_losses=True
        )
        value = tf.cast(loss(row.y, outputs, sample_weight=row.weight), tf.float32)
        value += sum(tf.cast(p, tf.float32) for p in penalties)
        if penalty is not None:
            value -= penalty(params)
        return Step(value, buffers, outputs)

    evaluate = value_and_gradient(objective)

    def piece(params, buffers, batch, clip):
        def of_row(row):
            step, gradients = evaluate(params, buffers, TensorBatch(*(p[None] for p in row)))
            return step.loss, step.outputs[0], gradients

        rows = tuple(part for part in batch if part is not None)
        with _without_remarks_on_loops():
            losses, outputs, gradients = tf.vectorized_map(of_row, rows)
        flat = [tf.reshape(tf.cast(g, tf.float32), (tf.shape(g)[0], -1)) for g in gradients]
        norms = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(g), axis=1) for g in flat]))
        finite = tf.math.is_finite(norms)
        flat = tf.cond(
            tf.reduce_all(finite),
            lambda: flat,
            lambda: [tf.where(finite[:, None], g, 0.0) for g in flat],
        )
        factors = cut(norms, clip)
        total = [
            tf.reshape(tf.cast(tf.linalg.matvec(g, factors, transpose_a=True), p.dtype), p.shape)
            for g, p in zip(flat, params, strict=True)
        ]
        if has_state:
            # what the state becomes must not depend on any row
            empty = tf.zeros_like(batch.x[:1])
            buffers = model.stateless_call(params, buffers, empty, training=True)[1]
        return ClippedSum(losses, outputs, norms, total, list(buffers))

    return piece


def _by_layers(probe, loss):
    def attempt(params, buffers, batch, clip, kept):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(params)
            outputs, layers, new_buffers = probe.call(params, buffers, batch.x)
            losses = _row_losses(loss, outputs, batch)
        flowing = tape.gradient(losses, [layer.output for layer in layers])
        squares = [
            layer.squared_norm(layer.input, gradient, layer.output, layer.params)
            for layer, gradient in zip(layers, flowing, strict=True)
        ]
        norms = tf.sqrt(tf.add_n(squares))
        total = tape.gradient(
            losses,
            params,
            output_gradients=cut(norms, clip) * kept,
            unconnected_gradients="zero",
        )
        # gradients of dilated convolutions forget their shapes
        total = [tf.ensure_shape(g, p.shape) for g, p in zip(total, params, strict=True)]
        return ClippedSum(losses, tf.cast(outputs, tf.float32), norms, total, new_buffers)

    def piece(params, buffers, batch, clip):
        params = [tf.identity(p) for p in params]
        n_rows = tf.shape(batch.x)[0]

        def body(again, kept, result):
            # zero times infinity is no zero: rows that are not finite are taken out before
            left = TensorBatch(*(None if part is None else _where(kept, part) for part in batch))
            result = attempt(params, buffers, left, clip, tf.cast(kept, tf.float32))
            still = kept & tf.math.is_finite(result.norms)
            again = tf.reduce_any(kept & ~still) & tf.reduce_any(still)
            return again, still, result

        none = tf.zeros((n_rows,))
        start = ClippedSum(
            none,
            tf.zeros((n_rows, *probe.output_shape)),
            none,
            [tf.zeros_like(p) for p in params],
            list(buffers),
        )
        everyone = tf.ones((n_rows,), tf.bool)
        # one pass, and another one where there are such rows
        _, kept, result = tf.while_loop(
            lambda again, *_: again, body, (True, everyone, start), parallel_iterations=1
        )
        norms = tf.where(kept, result.norms, float("inf"))
        is_any = tf.reduce_any(kept)
        gradients = [tf.where(is_any, g, tf.zeros_like(g)) for g in result.gradients]
        return result._replace(norms=norms, gradients=gradients)

    return piece


def _where(kept, rows) -> tf.Tensor:
    """The rows that are kept, and zeros."""
    column = tf.concat([tf.shape(kept), tf.ones(rows.shape.rank - 1, tf.int32)], 0)
    return tf.where(tf.reshape(kept, column), rows, tf.zeros_like(rows))


def _of_finite(losses, norms, params) -> tf.Tensor:
    """The losses of the rows that count; NaN if the weights are not finite.

    They alone say that training has diverged: one row must not be able to end it.
    """
    is_lost = tf.reduce_any([tf.reduce_any(~tf.math.is_finite(p)) for p in params])
    counts = tf.math.is_finite(norms) & tf.math.is_finite(losses)
    return tf.where(counts, losses, tf.where(is_lost, float("nan"), 0.0))


@contextmanager
def _without_remarks_on_loops() -> Iterator[None]:
    # the gradients of convolutions are made row by row, which TensorFlow warns of each time
    logger = logging.getLogger("tensorflow")

    def keep(record):
        return "while_loop" not in record.getMessage()

    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def cut(norms, clip) -> tf.Tensor:
    """``min(1, clip / norm)``, and 0 where the norm is not finite."""
    # 1e-30: below it float32 squares vanish, and nothing is cut
    factors = tf.minimum(1.0, clip / tf.maximum(norms, 1e-30))
    return tf.where(tf.math.is_finite(norms), factors, 0.0)


def _row_losses(loss, outputs, batch) -> tf.Tensor:
    def of_row(row):
        return tf.cast(loss(*row[:2], sample_weight=(*row, None)[2]), tf.float32)

    rows = (batch.y, outputs) if batch.weight is None else (batch.y, outputs, batch.weight)
    return tf.vectorized_map(lambda row: of_row([part[None] for part in row]), rows)
