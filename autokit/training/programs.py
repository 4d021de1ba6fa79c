"""Programs: the compiled training of one architecture, kept for the next fit of the same one.

Tracing costs more than training a small network. A program owns a private copy of the model and
its optimizer, and functions compiled over them; a fit borrows the program, loads the user's
weights into the copy, trains, and takes the weights home. Equal architectures (same layers, loss
and optimizer, whatever their names, weights, learning rate or batch size) share one program.
"""

from __future__ import annotations

import gc
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from tensorflow.python.eager.context import context  # no public way leads to its cache

from autokit._backend import keras, tf
from autokit.training.objectives import TensorBatch, n_correct, task_objective
from autokit.training.regime import Regime, descent
from autokit.training.state import assign, values_of

EVALUATION_ROWS = 512  # rows of one evaluation step: bounds the activations' memory
KEPT_PROGRAMS = 4
COLLECT_AFTER = 4


class Program:
    """The compiled training and evaluation of one architecture.

    Parameters
    ----------
    model : keras.Model
        The variables that are trained; the program owns them while it is borrowed.
    optimizer : keras.optimizers.Optimizer
    loss : keras.losses.Loss
    constraints : Constraints, default=None
        What variables are brought back to after each step.
    regime : Regime, default=None
        How gradients are made; plain descent on the loss by default.
    """

    def __init__(self, model, optimizer, loss, constraints=None, regime=None):
        if "float16" in {layer.compute_dtype for layer in _leaves(model)}:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        self.model, self.optimizer, self.loss = model, optimizer, loss
        model.compile(optimizer=optimizer, loss=loss)  # callbacks look for model.optimizer
        optimizer.build(model.trainable_variables)
        self.attached = None if constraints is None else constraints.attach(model)
        self._fresh_optimizer = values_of(optimizer.variables)
        self._compiled: dict = {}
        self._structures: dict = {}  # of what each sweep gives
        self._use(regime or descent())

    def _use(self, regime: Regime) -> None:
        self.regime = regime
        self._fixed, self._running = _flat(regime.fixed), _flat(regime.running)
        self._specs = [*regime.fixed_specs(), *regime.running_specs()]

    def load(self, weights, learning_rate, optimizer_state=None, regime=None) -> None:
        """Start from these weights, a fresh or a given optimizer state, and a regime's values."""
        if regime is not None:
            self._use(regime)
        self.model.stop_training = False
        assign(self.model.variables, weights)
        if self.attached is not None:
            self.attached.begin()
        if self.optimizer.variables:
            assign(self.optimizer.variables, optimizer_state or self._fresh_optimizer)
        if isinstance(learning_rate, float):
            self.optimizer.learning_rate = learning_rate

    def train(self, batch: TensorBatch, order, start: int, stop: int, batch_size: int):
        """Run the training steps `start` to `stop` over the rows in the given order.

        Returns
        -------
        tuple of float
            Loss summed over rows, hits summed over rows, and the step reached, which is before
            `stop` if the loss stopped being finite.
        """
        run = self._function("train", self._trace_train, batch)
        values = [*_arguments(batch), *self._fixed, *self._running]
        loss, hits, step, *self._running = run(*values, order, start, stop, batch_size)
        return float(loss), float(hits), int(step)

    def evaluate(self, batch: TensorBatch) -> tuple[float, float]:
        """Mean loss and accuracy (NaN where there is none) over all rows."""
        run = self._function("evaluate", self._trace_evaluate, batch)
        loss, hits = run(*_arguments(batch))
        n_rows = int(batch.x.shape[0])
        return float(loss) / n_rows, float(hits) / n_rows

    def state(self) -> list[np.ndarray]:
        """The values of all variables of the model."""
        return values_of(self.model.variables)

    def optimizer_state(self) -> list[np.ndarray]:
        """The values of the optimizer's variables."""
        return values_of(self.optimizer.variables)

    def running(self):
        """The values that the regime's steps have changed."""
        values = [part.numpy() for part in self._running]
        return tf.nest.pack_sequence_as(self.regime.running, values)

    def sweep(self, name, make, batch: TensorBatch, rows: int):
        """Sum a pure function over the rows, a few at a time.

        Parameters
        ----------
        name : str
            Of the function, within this program: it is traced once.
        make : callable
            ``make(model, loss)`` gives the function ``(params, buffers, batch, fixed, start) ->
            nest of tensors``; ``start`` is the number of the piece's first row.
        batch : TensorBatch
        rows : int
            Of one piece.

        Returns
        -------
        nest of np.ndarray
        """
        run = self._function(
            f"sweep {name}", lambda specs: self._trace_sweep(name, make, specs), batch
        )
        total = None
        for start in range(0, int(batch.x.shape[0]), rows):
            piece = [part[start : start + rows] for part in _arguments(batch)]
            parts = run(*piece, *self._fixed, start)
            total = parts if total is None else [a + b for a, b in zip(total, parts, strict=True)]
        structure = self._structures[name]
        return tf.nest.pack_sequence_as(structure, [part.numpy() for part in total])

    def _function(self, name, trace, batch):
        key = (name, *((p.dtype, p.shape[1:]) for p in _arguments(batch)))
        key += tuple((s.dtype, tuple(s.shape)) for s in self._specs)
        if key not in self._compiled:
            rows = [tf.TensorSpec((None, *p.shape[1:]), p.dtype) for p in _arguments(batch)]
            self._compiled[key] = trace(rows)
        return self._compiled[key]

    def _trace_train(self, rows):
        model, optimizer = self.model, self.optimizer
        params, buffers = model.trainable_variables, model.non_trainable_variables
        regime, n_fixed = self.regime, len(self._fixed)
        gradient = regime.gradient(
            model, self.loss, lambda own: lambda p, b, batch: _scaled(own(p, b, batch), optimizer)
        )

        def step(batch, fixed, running):
            result, gradients, running = gradient(
                _values(params), _values(buffers), batch, fixed, running
            )
            _apply(optimizer, gradients, params)
            assign(buffers, result.buffers)
            # the loss before scaling: what mixed precision multiplied in is taken out again
            loss = result.loss / _scale_of(optimizer)
            return loss, n_correct(self.loss, batch.y, result.outputs), running

        @tf.function(autograph=False)
        def train(*arguments):
            *values, order, start, stop, batch_size = arguments
            tensors, values = values[: len(rows)], values[len(rows) :]
            fixed = tf.nest.pack_sequence_as(regime.fixed, values[:n_fixed])

            def body(i, losses, hits, *running):
                chosen = order[i * batch_size : (i + 1) * batch_size]
                batch = TensorBatch(*(tf.gather(t, chosen) for t in tensors))
                running = tf.nest.pack_sequence_as(regime.running, running)
                loss, hit, running = step(batch, fixed, running)
                count = tf.cast(tf.shape(chosen)[0], tf.float32)
                losses += tf.cast(loss, tf.float32) * count
                return i + 1, losses, hits + hit, *tf.nest.flatten(running)

            def finite(i, losses, *_):
                return (i < stop) & tf.math.is_finite(losses)

            # every step needs the variables of the one before: nothing can run ahead
            i, losses, hits, *running = tf.while_loop(
                finite, body, (start, 0.0, 0.0, *values[n_fixed:]), parallel_iterations=1
            )
            return losses, hits, i, *running

        number = tf.TensorSpec((), tf.int32)
        order = tf.TensorSpec((None,), tf.int32)
        return _caller(
            train.get_concrete_function(*rows, *self._specs, order, number, number, number)
        )

    def _trace_sweep(self, name, make, rows):
        model, regime = self.model, self.regime
        function = make(model, self.loss)
        n_fixed = len(self._fixed)

        @tf.function(autograph=False)
        def sweep(*arguments):
            *values, start = arguments
            fixed = tf.nest.pack_sequence_as(regime.fixed, values[len(rows) :])
            result = function(
                _values(model.trainable_variables),
                _values(model.non_trainable_variables),
                TensorBatch(*values[: len(rows)]),
                fixed,
                start,
            )
            self._structures[name] = tf.nest.map_structure(lambda _: 0, result)
            return tf.nest.flatten(result)

        specs = self._specs[:n_fixed]
        return _caller(sweep.get_concrete_function(*rows, *specs, tf.TensorSpec((), tf.int32)))

    def _trace_evaluate(self, rows):
        model, loss = self.model, self.loss
        objective = task_objective(model, loss, training=False)

        @tf.function(autograph=False)
        def evaluate(*tensors):
            n_rows = tf.shape(tensors[0])[0]
            params = _values(model.trainable_variables)
            buffers = _values(model.non_trainable_variables)

            def body(start, losses, hits):
                end = tf.minimum(start + EVALUATION_ROWS, n_rows)
                batch = TensorBatch(*(t[start:end] for t in tensors))
                result = objective(params, buffers, batch)
                count = tf.cast(end - start, tf.float32)
                total = losses + tf.cast(result.loss, tf.float32) * count
                return end, total, hits + n_correct(loss, batch.y, result.outputs)

            _, losses, hits = tf.while_loop(lambda start, *_: start < n_rows, body, (0, 0.0, 0.0))
            return losses, hits

        return _caller(evaluate.get_concrete_function(*rows))


@contextmanager
def borrowed(
    model, optimizer, loss, optimizer_state=None, constraints=None, regime=None
) -> Iterator[Program]:
    """A program for `model`, loaded with its weights and given back at the end.

    Parameters
    ----------
    model : keras.Model
        Stays untouched while the program trains, except for a model whose architecture cannot be
        read from its configuration (subclasses, foreign layers): that one is trained in place and
        its program is not kept.
    optimizer : keras.optimizers.Optimizer
        Copied.
    loss : keras.losses.Loss
    optimizer_state : list of np.ndarray, default=None
        To go on from; a fresh one otherwise.
    constraints : Constraints, default=None
        What variables are brought back to after each step.
    regime : Regime, default=None
        How gradients are made; plain descent on the loss by default.
    """
    key = _key(model, optimizer, loss)
    if key is not None:
        key += "".join(part.key for part in (constraints, regime) if part is not None)
    program = _pool.take(key)
    if program is None:
        copy = model if key is None else model.__class__.from_config(model.get_config())
        program = Program(copy, _copy_optimizer(optimizer), loss, constraints, regime)
    weights = values_of(model.variables)
    fixed = None if has_schedule(optimizer) else float(optimizer.learning_rate)
    try:
        program.load(weights, fixed, optimizer_state, regime)
        yield program
    except BaseException:
        if program.model is model:
            assign(model.variables, weights)
        raise
    finally:
        if key is not None:
            program.model.stop_training = False
            _pool.give_back(key, program)
        elif program.attached is not None:
            program.attached.detach()


class _Pool:
    """Idle programs, the least recently used dropped first."""

    def __init__(self, capacity: int):
        self._capacity = capacity
        self._idle: OrderedDict = OrderedDict()
        self._dropped = 0
        self._lock = threading.Lock()

    def take(self, key):
        with self._lock:
            idle = self._idle.get(key)
            program = idle.pop() if idle else None
            if idle is not None and not idle:
                del self._idle[key]
            return program

    def give_back(self, key, program) -> None:
        with self._lock:
            self._idle.setdefault(key, []).append(program)
            self._idle.move_to_end(key)
            while sum(map(len, self._idle.values())) > self._capacity:
                oldest, idle = next(iter(self._idle.items()))
                idle.pop(0)
                if not idle:
                    del self._idle[oldest]
                self._dropped += 1
        if self._dropped >= COLLECT_AFTER:
            # a dropped graph is a cycle of many megabytes behind few Python objects, which the
            # collector would leave for long; a full collection costs as much as a small trial
            self._dropped = 0
            gc.collect()
            # TensorFlow keeps the executable form of every function it ever ran, dropped or not
            context().clear_kernel_cache()

    def clear(self) -> None:
        with self._lock:
            self._idle.clear()


_pool = _Pool(KEPT_PROGRAMS)


def clear_programs() -> None:
    """Forget all compiled programs and free their memory."""
    _pool.clear()


def _key(model, optimizer, loss) -> str | None:
    """What two fits must agree in to share a program; None where that cannot be told."""
    if not isinstance(model, keras.Sequential) and type(model).__name__ != "Functional":
        return None
    layers = list(_leaves(model))
    if not all(_is_described_by_config(layer) for layer in layers):
        return None
    if not all(_is_ours(part) for part in (optimizer, loss)) or hasattr(loss, "function"):
        return None
    optimizer_config = optimizer.get_config() | {"name": None}
    if not has_schedule(optimizer):
        optimizer_config["learning_rate"] = None
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:  # a loss-scale wrapper hides the rate one level down
        return None
    config = model.get_config()
    architecture = _renamed(config, _numbered_names(config, {}))
    parts = [architecture, type(optimizer).__name__, optimizer_config, loss.get_config()]
    parts += [type(loss).__name__, [layer.trainable for layer in layers]]
    parts += [[(v.shape, str(v.dtype)) for v in model.variables]]
    return json.dumps(parts, default=_described, sort_keys=True)


def _described(value):
    if hasattr(value, "get_config"):
        return [type(value).__name__, value.get_config()]
    return str(value)


def _numbered_names(value, names: dict) -> dict:
    """Every name given in a configuration, numbered in order of appearance."""
    if isinstance(value, dict):
        if isinstance(value.get("name"), str):
            names.setdefault(value["name"], f"name_{len(names)}")
        value = value.values()
    if not isinstance(value, str | int | float | None):
        for part in value:
            _numbered_names(part, names)
    return names


def _renamed(value, names):
    if isinstance(value, dict):
        return {k: _renamed(v, names) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(v, names) for v in value]
    return names.get(value, value) if isinstance(value, str) else value


def _leaves(model) -> Iterator:
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _leaves(layer)


def _is_ours(part) -> bool:
    return type(part).__module__.split(".")[0] in ("keras", "autokit")


def _is_described_by_config(layer) -> bool:
    # adapt() keeps numbers outside the variables, and a Lambda closes over anything
    return (
        _is_ours(layer)
        and not hasattr(layer, "adapt")
        and not isinstance(layer, keras.layers.Lambda)
    )


def has_schedule(optimizer) -> bool:
    """Whether an optimizer's learning rate follows a schedule of its own."""
    return optimizer.get_config().get("learning_rate").__class__ is dict


def _copy_optimizer(optimizer):
    return optimizer.__class__.from_config(optimizer.get_config())


def _apply(optimizer, gradients, params) -> None:
    """Take one step, as ``optimizer.apply`` would.

    ``apply`` sends gradients through tf.distribute's all_reduce, whose custom gradient enters
    each traced graph into a global registry for good: some 6 MB an architecture. An optimizer
    that does no more than clip and update is therefore driven by its own ``update_step``.
    """
    plain = (
        _is_ours(optimizer)
        and type(optimizer).apply is keras.optimizers.Optimizer.apply
        and not optimizer.use_ema
        and optimizer.gradient_accumulation_steps is None
        and optimizer.loss_scale_factor is None
        and optimizer.weight_decay is None
    )
    if not plain:
        optimizer.apply(gradients, params)
        return
    rate = tf.cast(optimizer.learning_rate, tf.float32)
    for gradient, param in zip(_clipped(gradients, optimizer), params, strict=True):
        optimizer.update_step(gradient, param, rate)
        if param.constraint is not None:
            param.assign(param.constraint(param.value))
    optimizer.iterations.assign_add(1)


def _clipped(gradients, optimizer) -> list:
    if optimizer.clipnorm:
        return [tf.clip_by_norm(g, optimizer.clipnorm) for g in gradients]
    if optimizer.global_clipnorm:
        return tf.clip_by_global_norm(gradients, optimizer.global_clipnorm)[0]
    if optimizer.clipvalue:
        return [tf.clip_by_value(g, -optimizer.clipvalue, optimizer.clipvalue) for g in gradients]
    return gradients


def _flat(nest) -> list:
    return [tf.convert_to_tensor(part) for part in tf.nest.flatten(nest)]


def _arguments(batch: TensorBatch) -> list:
    return [part for part in batch if part is not None]


def _values(variables) -> list:
    return [v.value for v in variables]


def _caller(concrete):
    def call(*arguments):
        return concrete(*[tf.convert_to_tensor(a) for a in arguments])

    return call


def _scale_of(optimizer):
    scale = getattr(optimizer, "dynamic_scale", None)
    return 1.0 if scale is None else tf.cast(scale.value, tf.float32)


def _scaled(step, optimizer):
    return step._replace(loss=optimizer.scale_loss(step.loss))
