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

from tensorflow.python.eager.context import context  # no public way leads to its cache

from autokit._backend import keras
from autokit.training.program import Program, is_ours, leaves
from autokit.training.state import assign, values_of

KEPT_PROGRAMS = 4
COLLECT_AFTER = 4


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
    if architecture is None:
        return None
    if not all(is_ours(part) for part in (optimizer, loss)) or hasattr(loss, "function"):
        return None
    optimizer_config = optimizer.get_config() | {"name": None}
    if not has_schedule(optimizer):
        optimizer_config["learning_rate"] = None
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:  # a loss-scale wrapper hides the rate one level down
        return None
    parts = [type(optimizer).__name__, optimizer_config, loss.get_config(), type(loss).__name__]
    return architecture + json.dumps(parts, default=_described, sort_keys=True)


def architecture_key(model: keras.Model) -> str | None:
    """The same text for equal architectures, whatever their names and weights.

    None where a configuration does not tell all: subclassed models, foreign layers, layers that
    keep numbers outside their variables.
    """
    if not isinstance(model, keras.Sequential) and type(model).__name__ != "Functional":
        return None
    layers = list(leaves(model))
    if not all(_is_described_by_config(layer) for layer in layers):
        return None
    config = model.get_config()
    parts = [_renamed(config, _numbered_names(config, {}))]
    parts += [[layer.trainable for layer in layers]]
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


def _is_described_by_config(layer) -> bool:
    # adapt() keeps numbers outside the variables, and a Lambda closes over anything
    return (
        is_ours(layer)
        and not hasattr(layer, "adapt")
        and not isinstance(layer, keras.layers.Lambda)
    )


def has_schedule(optimizer) -> bool:
    """Whether an optimizer's learning rate follows a schedule of its own."""
    return optimizer.get_config().get("learning_rate").__class__ is dict


def _copy_optimizer(optimizer):
    return optimizer.__class__.from_config(optimizer.get_config())
