"""Local training of many clients in one graph, in two forms of the same computation.

`one_by_one` takes any network, a client and a batch after the other; `all_at_once` trains small
networks of all clients side by side, each step one multiplication of stacked matrices.
"""

from __future__ import annotations

from autokit._backend import keras, tf
from autokit.federated.weights import WeightLayout
from autokit.training import Step, TensorBatch, task_objective, value_and_gradient
from autokit.training.objectives import n_correct
from autokit.training.row_clipping import clipped_sum, weight_penalty


def _gradient_of(model, loss, algorithm):
    """``(params, buffers, batch, anchor) -> (Step, gradients)``."""
    own = task_objective(model, loss)

    def gradient(params, buffers, batch, anchor):
        return value_and_gradient(algorithm.objective(own, anchor))(params, buffers, batch)

    return gradient


def parts_of(rows: TensorBatch) -> list:
    """The tensors of a batch."""
    return [part for part in rows if part is not None]


def _private_gradient_of(model, loss, algorithm, layout: WeightLayout):
    """The same with the gradients of rows clipped, and noise: ``lot`` is (noise, clip, rows).

    ``(sum_b clip(g_b) + noise * clip * N(0, I)) / rows``, and the gradient of what does not depend
    on rows: penalties, and what the algorithm adds.
    """
    summed, penalty = clipped_sum(model, loss), weight_penalty(model)

    def of_no_rows(params, buffers, batch):
        return Step(tf.zeros(()) if penalty is None else penalty(params), buffers, None)

    def gradient(params, buffers, batch, anchor, lot, seed):
        result = summed(params, buffers, batch, lot[1])
        pull = value_and_gradient(algorithm.objective(of_no_rows, anchor))
        # it gets no rows: what depends on them would pass the clipping by
        free, own = pull(params, buffers, TensorBatch(None, None))
        noise = layout.split_params(tf.random.stateless_normal((layout.n_params,), seed))
        gradients = [
            (g + lot[0] * lot[1] * n) / lot[2] + o
            for g, n, o in zip(result.gradients, noise, own, strict=True)
        ]
        n_rows = tf.maximum(1.0, tf.cast(tf.size(result.losses), tf.float32))
        mean = tf.reduce_sum(result.losses) / n_rows
        return Step(mean + free.loss, result.buffers, result.outputs), gradients

    return gradient


def one_by_one(model, loss, algorithm, layout: WeightLayout, names):
    """Any network: one client after the other, one batch after the other."""
    if "lots" in names:
        gradient = _private_gradient_of(model, loss, algorithm, layout)
    else:
        gradient = _gradient_of(model, loss, algorithm)
    buffers_of = _Buffers(model, layout)

    def run(rows, weights, rate, order, steps, ends, seeds, *given):
        given = dict(zip(names, given, strict=True))
        n_clients = tf.shape(seeds)[0]
        results = [tf.TensorArray(tf.float32, size=n_clients) for _ in range(3)]

        def client(k, *results):
            start = given["starts"][k] if "starts" in given else weights
            anchor, statistics = layout.split(start)
            pull = layout.split_params(given["corrections"][k]) if "corrections" in given else None

            def step(i, params, buffers, losses, hits):
                chosen = order[steps[i] : steps[i + 1]]
                batch = TensorBatch(*(tf.gather(part, chosen) for part in parts_of(rows)))
                noise = ()
                if "lots" in given:
                    own = tf.cast(seeds[k], tf.int64)
                    # of 64 bits: an int32 would fold the seed into 32, which can be tried out
                    number = tf.cast(i - ends[k], tf.int64)
                    seed = tf.random.experimental.stateless_fold_in(own, number)
                    noise = given["lots"][k], seed
                result, gradients = gradient(params, buffers, batch, anchor, *noise)
                if pull is not None:
                    gradients = [g + c for g, c in zip(gradients, pull, strict=True)]
                params = [p - rate * g for p, g in zip(params, gradients, strict=True)]
                count = tf.cast(tf.shape(chosen)[0], tf.float32)
                losses += tf.cast(result.loss, tf.float32) * count
                return (
                    i + 1, params, result.buffers, losses,
                    hits + n_correct(loss, batch.y, result.outputs),
                )  # fmt: skip

            # every step needs the weights of the one before: nothing can run ahead
            _, params, buffers, losses, hits = tf.while_loop(
                lambda i, *_: i < ends[k + 1],
                step,
                (ends[k], anchor, buffers_of(statistics, seeds[k]), 0.0, 0.0),
                parallel_iterations=1,
            )
            delta = layout.join(params, buffers_of.statistics(buffers)) - start
            values = (delta, losses, hits)
            return k + 1, *(r.write(k, v) for r, v in zip(results, values, strict=True))

        # one at a time: a client's activations are what fits into the cache
        _, *results = tf.while_loop(
            lambda k, *_: k < n_clients, client, (0, *results), parallel_iterations=1
        )
        return [result.stack() for result in results]

    return run


def all_at_once(model, loss, algorithm, layout: WeightLayout, names):
    """A dense network of which rows do not depend on each other: all clients at once, masked."""
    gradient = _gradient_of(model, loss, algorithm)
    buffers_of = _Buffers(model, layout)

    def run(rows, weights, rate, places, sizes, *given):
        given = dict(zip(names, given, strict=True))
        n_clients, width = places.shape[1:]
        start = given["starts"] if "starts" in given else tf.tile(weights[None], [n_clients, 1])
        anchor, statistics = layout.split(start)
        has_pull = "corrections" in given
        pull = layout.split_params(given["corrections"]) if has_pull else []
        counts = tf.cast(sizes, tf.float32)

        def of_client(args):
            params, anchor, statistics, batch, pull, count, pace, mask = args
            buffers = buffers_of(list(statistics), tf.zeros(2, tf.uint32))
            batch = TensorBatch(*batch)
            result, gradients = gradient(list(params), buffers, batch, list(anchor))
            if has_pull:
                gradients = [g + c for g, c in zip(gradients, pull, strict=True)]
            params = [p - pace * g for p, g in zip(params, gradients, strict=True)]
            hits = n_correct(loss, batch.y, result.outputs, mask)
            return params, tf.cast(result.loss, tf.float32) * count, hits

        def step(t, params, losses, hits):
            place, count = places[t], counts[t]
            mask = tf.sequence_mask(sizes[t], width, tf.float32)
            # Keras divides by the rows of a batch, the absent ones too: weights make up for it
            share = mask * (tf.cast(width, tf.float32) / tf.maximum(count, 1.0))[:, None]
            batch = [tf.gather(part, place) for part in parts_of(rows)]
            batch = (*batch[:2], share * batch[2] if len(batch) > 2 else share)
            pace = tf.where(count > 0, rate, 0.0)  # who has done all its steps stands still
            nest = (params, anchor, statistics, batch, pull, count, pace, mask)
            nest = tuple(tuple(part) if isinstance(part, list) else part for part in nest)
            params, loss_sum, hit_sum = tf.vectorized_map(of_client, nest)
            return t + 1, list(params), losses + loss_sum, hits + hit_sum

        zeros = tf.zeros(n_clients)
        _, params, losses, hits = tf.while_loop(
            lambda t, *_: t < tf.shape(places)[0],
            step,
            (0, anchor, zeros, zeros),
            parallel_iterations=1,
        )
        return layout.join(params, statistics, n_lead=1) - start, losses, hits

    return run


class _Buffers:
    """The non-trainable variables as a list of tensors, made of statistics and a seed."""

    def __init__(self, model: keras.Model, layout: WeightLayout):
        self._places = {place: i for i, place in enumerate(layout.statistics)}
        self._seed_dtypes = {
            place: str(v.dtype)
            for place, v in enumerate(model.non_trainable_variables)
            if _is_seed(v)
        }
        self._others = [
            None
            if place in self._places or place in self._seed_dtypes
            else tf.constant(v.value.numpy())
            for place, v in enumerate(model.non_trainable_variables)
        ]

    def __call__(self, statistics: list, seed) -> list:
        buffers = []
        for place, other in enumerate(self._others):
            if place in self._places:
                buffers.append(statistics[self._places[place]])
            elif other is not None:
                buffers.append(other)
            else:
                # generators of several layers must not draw the same
                own = seed + tf.constant([place, 0], tf.uint32)
                buffers.append(tf.cast(own, self._seed_dtypes[place]))
        return buffers

    def statistics(self, buffers: list) -> list:
        """Those of a list of buffers."""
        return [buffers[place] for place in self._places]


def _is_seed(variable) -> bool:
    # of which integers depends on the version of Keras
    return tuple(variable.shape) == (2,) and str(variable.dtype) in ("uint32", "int64")
