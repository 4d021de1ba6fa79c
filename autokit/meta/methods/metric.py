"""What methods share that compare embeddings of a frozen encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from autokit._backend import keras, tf
from autokit.layers import copied
from autokit.meta.protocols import Learnt, MetaLearner, Support, Task, View
from autokit.training import Step, value_and_gradient
from autokit.training.gradients import mean_over_tasks

UNIT = "few_shot_unit"  # as no layer of an encoder is named


@dataclass(kw_only=True, eq=False, repr=False)
class Metric(MetaLearner):
    """Compares embeddings; a subclass says how (`compare`), and as which layers (`layers`)."""

    embeds: ClassVar[bool] = True

    def compare(self, view: View, extras: list, support, y, query) -> tf.Tensor:
        """Logits of one task's queries.

        Parameters
        ----------
        view : View
        extras : list of tf.Tensor
        support : tf.Tensor of shape (n_support, n_features)
        y : int32 of shape (n_support,)
        query : tf.Tensor of shape (n_queries, n_features)

        Returns
        -------
        tf.Tensor of shape (n_queries, n_way)
        """
        raise NotImplementedError

    def layers(self, embedding: Any, learnt: Learnt, support: Support, n_outputs: int) -> tuple:
        """The same as layers, for a support set that is known.

        Parameters
        ----------
        embedding : keras tensor of shape (batch, n_features)
        learnt : Learnt
        support : Support
            Of embeddings.
        n_outputs : int

        Returns
        -------
        logits : keras tensor of shape (batch, n_outputs)
        values : list of np.ndarray
            For the weights of the layers behind the embedding, in order.
        """
        raise NotImplementedError

    def meta_gradient(self, view, params, buffers, tasks):
        def objective(params, buffers, task):
            outputs, buffers = self._outputs(view, params, buffers, task)
            return Step(view.loss(task.query_y, outputs), buffers, outputs)

        # an episode of a metric is large: its rows are embedded together, one episode at a time
        return mean_over_tasks(value_and_gradient(objective))(params, buffers, tasks)

    def answers(self, view, params, buffers, task):
        own, extras = params[: view.n_params], params[view.n_params :]
        support, query = task.support_x, task.query_x
        if not self.embedded(view):
            support = view.networks.by_rows(own, buffers, support)[0]
            query = view.networks.by_rows(own, buffers, query)[0]
        return self.compare(view, extras, support, task.support_y, query)

    def embedded(self, view: View) -> bool:
        """Whether tasks come with embeddings in the place of rows."""
        return not (view.transductive and view.networks.normalises)

    def adapted(self, learnt, support, n_outputs, seed):
        encoder = copied(learnt.network)
        logits, values = self.layers(encoder.outputs[0], learnt, support, n_outputs)
        model = keras.Model(encoder.inputs[0], logits)
        places = {id(v) for v in encoder.variables}
        own = [v for v in model.variables if id(v) not in places]
        for variable, value in zip(own, values, strict=True):
            variable.assign(value)
        return model

    def _outputs(self, view: View, params, buffers, task: Task):
        own, extras = params[: view.n_params], params[view.n_params :]
        networks = view.networks
        if view.transductive and networks.normalises:
            support, buffers = networks.by_rows(own, buffers, task.support_x, training=True)
            query, buffers = networks.by_rows(own, buffers, task.query_x, training=True)
        else:
            both = tf.concat([task.support_x, task.query_x], axis=0)
            embeddings, buffers = networks.learning(own, buffers, both)
            support, query = tf.split(embeddings, [view.layout.n_support, view.layout.n_queries])
        return self.compare(view, extras, support, task.support_y, query), buffers
