"""Tasks of a network of one hidden layer, and all that is learnt of them in NumPy."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.meta.protocols import Layout, Networks, Support, Task, View

N_TASKS, N_FEATURES, N_HIDDEN = 3, 4, 5


@dataclass
class OpenTasks:
    """Tasks of 2 classes, with the gradient of the network's loss by hand."""

    layout: Layout = Layout(2, 3, 2)
    seed: int = 0
    dtype: str = "float64"
    params: list = field(init=False)

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        shapes = [(N_FEATURES, N_HIDDEN), N_HIDDEN, (N_HIDDEN, 2), 2]
        self.params = [rng.normal(size=shape).astype(self.dtype) for shape in shapes]
        layout = self.layout
        support, query = (
            rng.normal(size=(N_TASKS, n, N_FEATURES)).astype(self.dtype)
            for n in (layout.n_support, layout.n_queries)
        )
        codes = [np.tile(layout.codes(n), (N_TASKS, 1)) for n in (layout.k_shot, layout.n_query)]
        self.tasks = Task(support, codes[0], query, codes[1])
        inputs = keras.Input((N_FEATURES,), dtype=self.dtype)
        x = keras.layers.Dense(N_HIDDEN, "tanh", dtype=self.dtype)(inputs)
        self.model = keras.Model(inputs, keras.layers.Dense(2, dtype=self.dtype)(x))

    def __iter__(self):
        return (Task(*parts) for parts in zip(*self.tasks, strict=True))

    def view(self, method) -> View:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype=self.dtype)
        numbers = {n: tf.constant(v, self.dtype) for n, v in method.number_values().items()}
        return View(Networks(self.model), loss, self.layout, numbers, False)

    def meta_gradient(self, method, extras=()) -> tuple[float, list[np.ndarray]]:
        """The method's own loss and gradient."""
        params = [tf.constant(p) for p in [*self.params, *extras]]
        tasks = Task(*(tf.constant(part) for part in self.tasks))
        step, gradients = method.meta_gradient(self.view(method), params, [], tasks)
        return float(step.loss), [g.numpy() for g in gradients]

    def learn(self, method, task, n_steps, extras=()) -> list[np.ndarray]:
        """The method's own parameters after its inner steps."""
        params = [tf.constant(p) for p in [*self.params, *extras]]
        support = Task(*(tf.constant(part) for part in task)).support
        places = method.inner_places(self.layout, n_steps)
        learnt, _ = method.learn(self.view(method), params, [], support, places, True)
        return [p.numpy() for p in learnt]

    @staticmethod
    def gradient(params, x, y) -> tuple[float, list[np.ndarray]]:
        """The mean cross-entropy and its gradient."""
        w, b, v, c = params
        hidden = np.tanh(x @ w + b)
        logits = hidden @ v + c
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        slope = (p - np.eye(2)[y]) / len(x)
        back = slope @ v.T * (1 - hidden**2)
        gradients = [x.T @ back, back.sum(axis=0), hidden.T @ slope, slope.sum(axis=0)]
        return -np.mean(np.log(p[np.arange(len(x)), y])), gradients

    def adapted(self, params, task, rates, n_steps, n_fixed=0) -> list[np.ndarray]:
        """Parameters after steps on the support set; the first `n_fixed` stay."""
        for _ in range(n_steps):
            _, gradients = self.gradient(params, task.support_x, task.support_y)
            rates = [0.0] * n_fixed + list(rates[n_fixed:])
            parts = zip(params, rates, gradients, strict=True)
            params = [p - r * g for p, r, g in parts]
        return params

    def meta_loss(self, params, rates, n_steps, n_fixed=0) -> float:
        """The mean loss of queries after adaptation."""
        learnt = [self.adapted(params, task, rates, n_steps, n_fixed) for task in self]
        losses = [
            self.gradient(p, t.query_x, t.query_y)[0] for p, t in zip(learnt, self, strict=True)
        ]
        return float(np.mean(losses))

    def mean_gradient_at(self, points) -> list[np.ndarray]:
        """The gradient of the queries' loss at a point for each task, averaged over tasks."""
        each = [
            self.gradient(p, t.query_x, t.query_y)[1] for p, t in zip(points, self, strict=True)
        ]
        return [np.mean(parts, axis=0) for parts in zip(*each, strict=True)]

    @staticmethod
    def differences(function, arrays, step=1e-5) -> list[np.ndarray]:
        """Central differences of ``function(arrays)`` in every entry."""
        result = []
        for k, array in enumerate(arrays):
            slope = np.zeros_like(array)
            for place in np.ndindex(array.shape):
                values = []
                for sign in (1, -1):
                    moved = [a.copy() for a in arrays]
                    moved[k][place] += sign * step
                    values.append(function(moved))
                slope[place] = (values[0] - values[1]) / (2 * step)
            result.append(slope)
        return result


@pytest.fixture
def tasks():
    return OpenTasks()


@pytest.fixture
def close():
    """Asserts that two lists of arrays are equal up to rounding."""

    def check(found, expected, rtol=1e-6, atol=1e-8):
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)

    return check


@dataclass
class Embeddings:
    """Embeddings of 4 classes with unequal rows, in no order, and those that are asked."""

    n_way: int = 4

    def __post_init__(self):
        rng = np.random.default_rng(0)
        self.y = rng.permutation(np.repeat(np.arange(self.n_way), [1, 2, 3, 4])).astype(np.int32)
        self.support = rng.normal(size=(10, 6)).astype(np.float32)
        self.query = rng.normal(size=(7, 6)).astype(np.float32)

    def compared(self, method, extras=()) -> np.ndarray:
        """The method's logits in training."""
        numbers = {n: tf.constant(v) for n, v in method.number_values().items()}
        view = View(None, None, Layout(self.n_way, 1, 1), numbers, False)
        tensors = map(tf.constant, (self.support, self.y, self.query))
        return method.compare(view, list(extras), *tensors).numpy()

    def head(self, method, extras=()) -> np.ndarray:
        """Outputs of the layers that an adapted model ends in."""
        kept = method.kept(Support(self.support, self.y, np.ones(len(self.y), np.float32)))
        learnt = SimpleNamespace(extras=list(extras))
        inputs = keras.Input((self.support.shape[1],))
        outputs, values = method.layers(inputs, learnt, kept, self.n_way)
        model = keras.Model(inputs, outputs)
        model.set_weights(values)
        return model.predict(self.query, verbose=0)


@pytest.fixture
def embeddings():
    return Embeddings()
