"""What methods share that adapt a network's weights by gradient steps on the support set."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from autokit._backend import keras, tf
from autokit.layers.copies import settle
from autokit.meta.protocols import MetaLearner, View
from autokit.meta.tracing import adapter
from autokit.training import Step, TensorBatch, local_sgd, value_and_gradient
from autokit.training.gradients import mean_over_tasks
from autokit.training.state import assign, values_of

HEAD = "few_shot_outputs"  # as no layer of an encoder is named
# Larger support sets are learnt in batches of so many rows; statistics are of so many at most.
STEP_ROWS = 512
UNROLLED_STEPS = 8  # more of them on a new task are a loop: each step of a trace takes 0.1 s
N_HEAD = 2  # parameters of the last layer, which come last


@dataclass(kw_only=True, eq=False, repr=False)
class InnerLoop(MetaLearner):
    """Gradient steps from meta-learnt weights; a subclass says how they are learnt.

    Batch normalisation uses the statistics of the support set, after adaptation too; with
    `transductive` those of the queries that are answered together.
    """

    inner_steps: int = 1
    inner_learning_rate: float = 0.1
    adaptation_steps: int | None = None

    regresses: ClassVar[bool] = True
    strided: ClassVar[bool] = True
    numbers: ClassVar[tuple[str, ...]] = ("inner_learning_rate",)
    first_order: ClassVar[bool] = False
    meta_batch_size: ClassVar[int] = 8
    _parameter_constraints: ClassVar[dict] = {
        "inner_steps": [Interval(Integral, 1, None, closed="left")],
        "inner_learning_rate": [Interval(Real, 0, None, closed="neither")],
        "adaptation_steps": [None, Interval(Integral, 1, None, closed="left")],
    }

    @property
    def n_adaptation_steps(self) -> int:
        """Gradient steps on the support set of a new task."""
        return int(self.adaptation_steps or self.inner_steps)

    def network(self, encoder, n_outputs):
        outputs = keras.layers.Dense(n_outputs, name=HEAD)(encoder.outputs[0])
        return keras.Model(encoder.inputs[0], outputs)

    def n_fixed(self, n_params: int) -> int:
        """How many of the parameters, counted from the input, no task changes."""
        return 0

    def inner_rates(self, view: View, params: list):
        """Learning rate of the inner loop: one, or one for each parameter that is adapted."""
        return view.numbers["inner_learning_rate"]

    def inner_loop(self, view: View, objective, params: list, first_order: bool):
        """The steps as ``(params, buffers, batches) -> LocalResult``; see `local_sgd`."""
        return local_sgd(objective, self.inner_rates(view, params), first_order=first_order)

    def inner_places(self, layout, n_steps: int) -> np.ndarray:
        """Which rows each training step sees, of shape (n_steps, n_rows)."""
        return np.tile(np.arange(layout.n_support, dtype=np.int32), (n_steps, 1))

    def learn(self, view: View, params, buffers, support, places, training, first_order=True):
        """The network's parameters and buffers after steps on rows of a support set.

        Parameters
        ----------
        view : View
        params, buffers : list of tf.Tensor
            Meta-learnt, extras included.
        support : TensorBatch
        places : int32 of shape (n_steps, n_rows)
            Of the rows that each step sees; unrolled if the number of steps is static.
        training : bool
            Whether dropout drops.
        first_order : bool, default=True
            See `local_sgd`.

        Returns
        -------
        params, buffers : list of tf.Tensor
            Without extras.
        """
        n_fixed = self.n_fixed(view.n_params)
        fixed, moving = params[:n_fixed], params[n_fixed : view.n_params]

        def objective(moving, buffers, batch):
            x, y = tf.gather(support.x, batch.x), tf.gather(support.y, batch.x)
            outputs, buffers = view.networks.by_rows([*fixed, *moving], buffers, x, training)
            return Step(view.loss(y, outputs), buffers, outputs)

        run = self.inner_loop(view, objective, params, first_order)
        result = run(moving, buffers, TensorBatch(places, None))
        return [*fixed, *result.params], result.buffers

    def asked(self, view: View, params, buffers, support_x, query_x, training):
        """Outputs for queries, normalised as `transductive` says, and new buffers."""
        networks = view.networks
        if view.transductive or not networks.normalises:
            return networks.by_rows(params, buffers, query_x, training)
        _, buffers = networks.by_rows(params, buffers, support_x[:STEP_ROWS], training)
        return networks.by_kept(params, buffers, query_x, training)

    def meta_gradient(self, view, params, buffers, tasks):
        places = self.inner_places(view.layout, self.inner_steps)

        def objective(params, buffers, task):
            own, buffers = self.learn(
                view, params, buffers, task.support, places, True, self.first_order
            )
            outputs, buffers = self.asked(view, own, buffers, task.support_x, task.query_x, True)
            return Step(view.loss(task.query_y, outputs), buffers, outputs)

        return mean_over_tasks(value_and_gradient(objective))(params, buffers, tasks)

    def answers(self, view, params, buffers, task):
        params, buffers = self.adapted_values(view, params, buffers, task.support)
        if view.transductive and view.networks.normalises:
            return view.networks.by_rows(params, buffers, task.query_x)[0]
        return view.networks.by_kept(params, buffers, task.query_x)[0]

    def adapted_values(self, view: View, params, buffers, support: TensorBatch):
        """Parameters and buffers that have learnt a support set of any size."""
        n_rows = tf.shape(support.x)[0]
        width = tf.minimum(n_rows, STEP_ROWS)
        n_steps = tf.maximum(self.n_adaptation_steps, -(-n_rows // width))
        places = tf.reshape(tf.range(n_steps * width), (n_steps, width)) % n_rows
        if self.n_adaptation_steps > UNROLLED_STEPS:  # a number that is not known is a loop
            places = tf.compat.v1.placeholder_with_default(places, (None, None))
        params, buffers = self.learn(view, params, buffers, support, places, False)
        _, buffers = view.networks.by_rows(params, buffers, support.x[:STEP_ROWS])
        return params, buffers

    def resized(self, network, extras, n_outputs):
        return with_units(network, extras, n_outputs)

    def adapted(self, learnt, support, n_outputs, seed):
        order = np.random.default_rng(seed).permutation(len(support.x))
        network, extras = self.resized(learnt.network, learnt.extras, n_outputs)
        run = adapter(learnt, network, n_outputs)
        params, buffers = (
            values_of(network.trainable_variables),
            values_of(network.non_trainable_variables),
        )
        values = run([*params, *extras], buffers, support.x[order], support.y[order])
        assign(network.trainable_variables, values[0])
        assign(network.non_trainable_variables, values[1])
        return network


def with_units(network: keras.Model, extras: list, n_outputs: int) -> tuple[keras.Model, list]:
    """A network of its own with so many outputs, and the extras of that shape.

    Which class has which unit is chance in every training task, so a unit of another number of
    classes starts from the mean of all (as Ye and Chao, "How to Train Your MAML to Excel in
    Few-Shot Classification", 2022, start every unit).
    """
    config = network.get_config()
    layer = next(part for part in config["layers"] if part["name"] == HEAD)
    n_before, layer["config"]["units"] = layer["config"]["units"], int(n_outputs)
    other = type(network).from_config(config)

    def resized(values):
        return values if n_before == n_outputs else _resized(values, n_outputs)

    assign(other.trainable_variables, resized(values_of(network.trainable_variables)))
    assign(other.non_trainable_variables, values_of(network.non_trainable_variables))
    settle(other)
    return other, resized(extras) if extras else []


def _resized(values: list, n_outputs: int) -> list:
    last = [np.repeat(v.mean(axis=-1, keepdims=True), n_outputs, -1) for v in values[-N_HEAD:]]
    return [*values[:-N_HEAD], *last]
