"""The seam of few-shot learning: what is learnt from many small tasks, and how a new one is met.

A task is a support set, from which to learn, and queries, by which the learning is judged. One
meta-training is this::

    for tasks in episodes:                                       # compiled, a whole epoch a call
        step, gradients = method.meta_gradient(view, params, buffers, tasks)
        params = optimizer(params, gradients)

and afterwards ``method.adapted`` turns the support set of new classes into a plain Keras model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

from autokit._backend import keras, tf
from autokit.layers.task_norm import KEPT, ROWS, USUAL, normalises, with_statistics
from autokit.training import Step, TensorBatch
from autokit.training.state import assign, generators, values_of


class Layout(NamedTuple):
    """The size of a task.

    Attributes
    ----------
    n_way : int
        Classes; 1 where a task is a regression.
    k_shot, n_query : int
        Support rows and queries of each class. Rows are sorted by class.
    """

    n_way: int
    k_shot: int
    n_query: int

    @property
    def n_support(self) -> int:
        """Support rows of all classes."""
        return self.n_way * self.k_shot

    @property
    def n_queries(self) -> int:
        """Queries of all classes."""
        return self.n_way * self.n_query

    def codes(self, n_rows: int) -> np.ndarray:
        """The class of each of so many rows of each class."""
        return np.repeat(np.arange(self.n_way, dtype=np.int32), n_rows)


class Task(NamedTuple):
    """One task, or several with a leading axis: rows and what they are.

    Attributes
    ----------
    support_x : tf.Tensor of shape (n_support, ...)
    support_y : int32 of shape (n_support,), or float32 of shape (n_support, n_outputs)
    query_x : tf.Tensor of shape (n_queries, ...)
    query_y : as support_y
    """

    support_x: Any
    support_y: Any
    query_x: Any
    query_y: Any

    @property
    def support(self) -> TensorBatch:
        """What is learnt from."""
        return TensorBatch(self.support_x, self.support_y)

    @property
    def query(self) -> TensorBatch:
        """What is asked."""
        return TensorBatch(self.query_x, self.query_y)


class Networks:
    """A network by the statistics of its batch normalisation: pure functions of its variables.

    Parameters
    ----------
    model : keras.Model
        Gives the architecture; its variables are neither read nor written.

    Attributes
    ----------
    normalises : bool
        Whether there is any batch normalisation.
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self.normalises = normalises(model)
        self._by = {name: with_statistics(model, name) for name in (USUAL, ROWS, KEPT)}

    def learning(self, params, buffers, x):
        """Outputs and new buffers in training: by the rows' statistics, which are averaged."""
        return self._by[USUAL].stateless_call(params, buffers, x, training=True)

    def by_rows(self, params, buffers, x, training: bool = False):
        """Outputs by the rows' own statistics, and buffers in which these are kept."""
        return self._by[ROWS].stateless_call(params, buffers, x, training=training)

    def by_kept(self, params, buffers, x, training: bool = False):
        """Outputs by the statistics in the buffers, and new buffers."""
        return self._by[KEPT].stateless_call(params, buffers, x, training=training)


@dataclass(frozen=True)
class View:
    """What a method may use while a step is traced.

    Attributes
    ----------
    networks : Networks
    loss : keras.losses.Loss
        From logits of classes, or of numbers.
    layout : Layout
    numbers : dict of str to tf.Tensor
        The method's `numbers`, as tensors.
    transductive : bool
        Whether batch normalisation may use statistics of the queries.
    """

    networks: Networks
    loss: keras.losses.Loss
    layout: Layout
    numbers: dict[str, Any]
    transductive: bool

    @cached_property
    def n_params(self) -> int:
        """Parameters of the network; what a method learns beside them comes after these."""
        return len(self.networks.model.trainable_variables)


class Support(NamedTuple):
    """What is kept of the rows that a learner has adapted to.

    Attributes
    ----------
    x : np.ndarray of shape (n_rows, ...)
        Encoded rows, or their embeddings where the method never looks at rows again.
    y : np.ndarray of shape (n_rows,), or (n_rows, n_outputs)
        Codes of classes, or numbers.
    weight : np.ndarray of shape (n_rows,)
        How many rows each stands for.
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True, eq=False)
class Learnt:
    """What meta-training leaves; nothing of it changes when a new task is met.

    Attributes
    ----------
    network : keras.Model
    extras : list of np.ndarray
        What the method has learnt beside the network's weights.
    method : MetaLearner
    layout : Layout
        Of the training tasks.
    transductive, is_regression : bool
    history : dict of list of float
        A value per epoch.
    n_episodes : int
        Tasks seen.
    compiled : dict
        Functions of this network, made when they are first used; never stored.
    """

    network: keras.Model
    extras: list
    method: MetaLearner
    layout: Layout
    transductive: bool
    is_regression: bool
    history: dict[str, list[float]]
    n_episodes: int
    compiled: dict = field(default_factory=dict)

    def __getstate__(self):
        return {
            **self.__dict__,
            "compiled": {},
            "seed_states": values_of(generators(self.network)),
        }

    def __setstate__(self, state):
        seed_states = state.pop("seed_states")
        self.__dict__.update(state)
        assign(generators(self.network), seed_states)


@dataclass(kw_only=True, eq=False, repr=False)
class MetaLearner(BaseEstimator):
    """A method of few-shot learning; subclass `autokit.meta.methods.metric.Metric`, where a frozen
    encoder's embeddings are compared, or `autokit.meta.methods.inner.InnerLoop`, where weights
    are adapted.

    Its fields are parameters that ``GridSearchCV`` can search (``method__temperature``).

    Attributes
    ----------
    numbers : tuple of str
        Fields that may change without a new trace.
    episodic : bool
        Whether it trains on tasks; otherwise on single rows, as one classification.
    embeds : bool
        Whether embeddings of rows do not depend on the task.
    regresses : bool
        Whether tasks may be regressions.
    gives_probabilities : bool
        Whether an adapted model ends in probabilities; in logits otherwise.
    strided : bool
        See `autokit.layers.conv4`.
    optimizer : str
        Of the outer loop.
    anneals : bool
        Whether the outer learning rate falls to 0 linearly.
    outer_learning_rate, meta_batch_size : float, int
        Defaults.
    """

    numbers: ClassVar[tuple[str, ...]] = ()
    episodic: ClassVar[bool] = True
    embeds: ClassVar[bool] = False
    regresses: ClassVar[bool] = False
    gives_probabilities: ClassVar[bool] = False
    strided: ClassVar[bool] = False
    optimizer: ClassVar[str] = "adam"
    anneals: ClassVar[bool] = False
    outer_learning_rate: ClassVar[float] = 1e-3
    meta_batch_size: ClassVar[int] = 1
    _parameter_constraints: ClassVar[dict] = {}

    def key(self) -> str:
        """What two methods must agree in to share a compiled training."""
        fields = {k: v for k, v in self.get_params(deep=False).items() if k not in self.numbers}
        return f"{type(self).__name__}{sorted(fields.items())}"

    def number_values(self) -> dict[str, np.ndarray]:
        """The values of `numbers`."""
        return {name: np.float32(getattr(self, name)) for name in self.numbers}

    def network(self, encoder: keras.Model, n_outputs: int) -> keras.Model:
        """The network that is meta-trained, around an encoder of shape (batch, n_features)."""
        return encoder

    def meets(self, network: keras.Model) -> keras.Model:
        """What of the trained network meets new tasks."""
        return network

    def resized(self, network: keras.Model, extras: list, n_outputs: int) -> tuple:
        """What meets tasks of so many classes: a network, and extras."""
        return network, extras

    def extras(self, network: keras.Model, seed: int) -> list[np.ndarray]:
        """Initial values of what is learnt beside the network's weights."""
        return []

    def meta_gradient(
        self, view: View, params: list, buffers: list, tasks: Task
    ) -> tuple[Step, list]:
        """The mean loss of tasks and its gradient in `params`, extras included.

        Parameters
        ----------
        view : View
        params : list of tf.Tensor
            Of the network, then the extras.
        buffers : list of tf.Tensor
        tasks : Task
            With a leading axis of tasks.

        Returns
        -------
        step : Step
            Its outputs are those for the queries, of shape (n_tasks, n_queries, n_way).
        gradients : list of tf.Tensor
        """
        raise NotImplementedError

    def answers(self, view: View, params: list, buffers: list, task: Task) -> tf.Tensor:
        """Outputs for the queries of one task after learning from its support set.

        Returns
        -------
        tf.Tensor of shape (n_queries, n_way or n_outputs)
        """
        raise NotImplementedError

    def adapted(self, learnt: Learnt, support: Support, n_outputs: int, seed: int) -> keras.Model:
        """A plain model from encoded rows to logits (or numbers), that has learnt a support set."""
        raise NotImplementedError

    def kept(self, support: Support) -> Support:
        """What of a support set must be kept to add classes and rows later."""
        return support

    def by_prototypes(self) -> MetaLearner | None:
        """A `Prototypical` that answers alike, if a class is the mean of its embeddings here."""
        return None
