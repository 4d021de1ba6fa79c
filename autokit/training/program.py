"""The compiled training and evaluation of one architecture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from autokit._backend import keras, tf
from autokit.training.forward import Forward
from autokit.training.objectives import TensorBatch, n_correct, task_objective
from autokit.training.regime import Regime, descent
from autokit.training.state import assign, values_of

EVALUATION_ROWS = 512  # rows of one evaluation step: bounds the activations' memory


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
        if "float16" in {layer.compute_dtype for layer in leaves(model)}:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        self.model, self.optimizer, self.loss = model, optimizer, loss
        model.compile(optimizer=optimizer, loss=loss)  # callbacks look for model.optimizer
        optimizer.build(model.trainable_variables)
        self.attached = None if constraints is None else constraints.attach(model)
        self._fresh_optimizer = values_of(optimizer.variables)
        self._compiled: dict = {}
        self._structures: dict = {}  # of what each sweep gives
        self._forwards: dict[str, Forward] = {}
        self._use(regime or descent())

    def _use(self, regime: Regime) -> None:
        self._gradient, self._has_gaps = regime.gradient, regime.order == "poisson"
        self._fixed, self._running = _flat(regime.fixed), _flat(regime.running)
        self._specs = [*regime.fixed_specs(), *regime.running_specs()]
        # a trace keeps what it saw of these for good: their structure, not their arrays
        self._fixed_like, self._running_like = _like(regime.fixed), _like(regime.running)

    def rest(self) -> None:
        """Let go of the regime's values until the next `load`."""
        self._gradient, self._fixed, self._running = None, [], []

    def load(self, weights, learning_rate, optimizer_state=None, regime=None) -> None:
        """Start from these weights, a fresh or a given optimizer state, and a regime's values."""
        self._use(regime or descent())
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

    def forward(self, finish=None, tag: str = "") -> Forward:
        """The model's inference with the weights that it has; traced once for a `tag`.

        Parameters
        ----------
        finish : callable or None
            As of `Forward`; must do the same whenever the `tag` is the same.
        tag : str
        """
        return self._forwards.setdefault(tag, Forward(self.model, finish))

    def state(self) -> list[np.ndarray]:
        """The values of all variables of the model."""
        return values_of(self.model.variables)

    def optimizer_state(self) -> list[np.ndarray]:
        """The values of the optimizer's variables."""
        return values_of(self.optimizer.variables)

    def running(self):
        """The values that the regime's steps have changed."""
        values = [part.numpy() for part in self._running]
        return tf.nest.pack_sequence_as(self._running_like, values)

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
        fixed_like, running_like = self._fixed_like, self._running_like
        n_fixed, has_gaps = len(self._fixed), self._has_gaps
        gradient = self._gradient(
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
            fixed = tf.nest.pack_sequence_as(fixed_like, values[:n_fixed])

            def body(i, losses, hits, *running):
                chosen = order[i * batch_size : (i + 1) * batch_size]
                if has_gaps:
                    chosen = tf.boolean_mask(chosen, chosen >= 0)
                batch = TensorBatch(*(tf.gather(t, chosen) for t in tensors))
                running = tf.nest.pack_sequence_as(running_like, running)
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
        model, fixed_like = self.model, self._fixed_like
        function = make(model, self.loss)
        n_fixed = len(self._fixed)

        @tf.function(autograph=False)
        def sweep(*arguments):
            *values, start = arguments
            fixed = tf.nest.pack_sequence_as(fixed_like, values[len(rows) :])
            result = function(
                _values(model.trainable_variables),
                _values(model.non_trainable_variables),
                TensorBatch(*values[: len(rows)]),
                fixed,
                start,
            )
            self._structures[name] = _like(result)
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


def leaves(model) -> Iterator:
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from leaves(layer)


def _apply(optimizer, gradients, params) -> None:
    """Take one step, as ``optimizer.apply`` would.

    ``apply`` sends gradients through tf.distribute's all_reduce, whose custom gradient enters
    each traced graph into a global registry for good: some 6 MB an architecture. An optimizer
    that does no more than clip and update is therefore driven by its own ``update_step``.
    """
    plain = (
        is_ours(optimizer)
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
    fused = _fused_adam(optimizer, rate)
    for gradient, param in zip(_clipped(gradients, optimizer), params, strict=True):
        if fused is not None and "float32" in str(param.dtype):
            fused(gradient, param)
        else:
            optimizer.update_step(gradient, param, rate)
        if param.constraint is not None:
            param.assign(param.constraint(param.value))
    optimizer.iterations.assign_add(1)


def _fused_adam(optimizer, rate):
    """Adam's step as one kernel: Keras' ten operations read the weights as often."""
    if type(optimizer) is not keras.optimizers.Adam or optimizer.amsgrad:
        return None
    step = tf.cast(optimizer.iterations + 1, tf.float32)
    betas = (optimizer.beta_1, optimizer.beta_2)
    powers = [tf.pow(tf.cast(beta, tf.float32), step) for beta in betas]

    def update(gradient, param):
        place = optimizer._get_variable_index(param)
        slots = (param, optimizer._momentums[place], optimizer._velocities[place])
        var, m, v = (variable.value.handle for variable in slots)
        tf.raw_ops.ResourceApplyAdam(
            var=var,
            m=m,
            v=v,
            beta1_power=powers[0],
            beta2_power=powers[1],
            lr=rate,
            beta1=optimizer.beta_1,
            beta2=optimizer.beta_2,
            epsilon=optimizer.epsilon,
            grad=gradient,
        )

    return update


def _clipped(gradients, optimizer) -> list:
    if optimizer.clipnorm:
        return [tf.clip_by_norm(g, optimizer.clipnorm) for g in gradients]
    if optimizer.global_clipnorm:
        return tf.clip_by_global_norm(gradients, optimizer.global_clipnorm)[0]
    if optimizer.clipvalue:
        return [tf.clip_by_value(g, -optimizer.clipvalue, optimizer.clipvalue) for g in gradients]
    return gradients


def _like(nest):
    return tf.nest.map_structure(lambda _: 0, nest)


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


def is_ours(part) -> bool:
    return type(part).__module__.split(".")[0] in ("keras", "autokit")
