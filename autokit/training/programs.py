"""Programs: the compiled training of one architecture, kept for the next fit of the same one.

Tracing costs more than training a small network. A program owns a private copy of the model and
its optimizer, and functions compiled over them; a fit borrows the program, loads the user's
weights into the copy, trains, and takes the weights home. Equal architectures (same layers, loss
and optimizer, whatever their names, weights, learning rate or batch size) share one program.
"""

from __future__ import annotations

import gc
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from tensorflow.python.eager.context import context  # no public way leads to its cache

from autokit._backend import keras, tf
from autokit.layers.copies import foreign_parts
from autokit.training.program import Program, is_ours, leaves
from autokit.training.state import assign, values_of

KEPT_PROGRAMS = 4
COLLECT_AFTER = 4

# Where a configuration names layers, besides "name".
_LINKS = ("keras_history", "input_layers", "output_layers")


@contextmanager
def borrowed(
    model, optimizer, loss, optimizer_state=None, constraints=None, regime=None
) -> Iterator[Program]:
    """A program for `model`, loaded with its weights and given back at the end.

    Parameters
    ----------
    model : keras.Model
        Stays untouched while the program trains, except for a model whose architecture cannot be
        read from its configuration (subclasses, foreign layers and functions): that one is trained
        in place and its program is not kept.
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
            program.rest()
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

    def resize(self, change: int) -> None:
        with self._lock:
            self._capacity += change


_pool = _Pool(KEPT_PROGRAMS)


@contextmanager
def more_programs(n: int) -> Iterator[None]:
    """Keep so many more idle programs inside the block: for a search over many architectures."""
    _pool.resize(n)
    try:
        yield
    finally:
        _pool.resize(-n)


def clear_programs() -> None:
    """Forget all compiled programs and free their memory."""
    _pool.clear()


def _key(model, optimizer, loss) -> str | None:
    """What two fits must agree in to share a program; None where that cannot be told."""
    architecture = architecture_key(model)
    if architecture is None or foreign_parts(optimizer):
        return None
    if not is_ours(loss) or hasattr(loss, "function"):
        return None
    optimizer_config = optimizer.get_config() | {"name": None}
    if not has_schedule(optimizer):
        optimizer_config["learning_rate"] = None
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:  # a loss-scale wrapper hides the rate one level down
        return None
    parts = [type(optimizer).__name__, optimizer_config, loss.get_config(), type(loss).__name__]
    rest = exact_text(parts)
    return None if rest is None else architecture + rest


def architecture_key(model: keras.Model) -> str | None:
    """The same text for equal architectures, whatever their names and weights.

    None where a configuration does not tell all: subclassed models, foreign layers, functions and
    other objects in them that are not Keras' own, layers that keep numbers outside their variables.
    """
    if type(model) is not keras.Sequential and type(model).__name__ != "Functional":
        return None
    layers = list(leaves(model))
    # adapt() keeps numbers outside the variables
    if any(hasattr(layer, "adapt") for layer in layers) or foreign_parts(model):
        return None
    parts = [_renamed(model.get_config(), {})]
    parts += [[layer.trainable for layer in layers]]
    parts += [[(v.shape, str(v.dtype)) for v in model.variables]]
    return exact_text(parts)


def exact_text(value) -> str | None:
    """A text that equal values share and no others; None where that cannot be told."""
    try:
        return json.dumps(value, default=_exact, sort_keys=True)
    except (TypeError, ValueError):
        return None


def _exact(value):
    if isinstance(value, np.ndarray | np.generic | tf.Tensor):
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise TypeError("Objects cannot be told apart.")
        digest = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
        return [array.dtype.str, array.shape, digest]
    if isinstance(value, np.dtype | tf.DType | tf.TensorShape):
        return str(value)
    if is_ours(value) and hasattr(value, "get_config"):
        return [type(value).__name__, value.get_config()]
    raise TypeError(f"A {type(value).__name__} cannot be told apart.")


def _renamed(value, names: dict, key: str = ""):
    """A configuration with its layers' names numbered in order of appearance."""
    if key == "dtype":
        return value  # a policy has a name as well, which matters
    if isinstance(value, dict):
        return {k: _renamed(v, names, key if key in _LINKS else k) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(v, names, key) for v in value]
    if isinstance(value, str) and (key == "name" or key in _LINKS):
        return names.setdefault(value, f"name_{len(names)}")
    return value


def has_schedule(optimizer) -> bool:
    """Whether an optimizer's learning rate follows a schedule of its own."""
    return optimizer.get_config().get("learning_rate").__class__ is dict


def _copy_optimizer(optimizer):
    return optimizer.__class__.from_config(optimizer.get_config())
