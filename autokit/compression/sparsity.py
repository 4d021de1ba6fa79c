"""Kernels that grow sparse while they are trained, and exactly as sparse as was asked."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from autokit._backend import keras, tf
from autokit.compression import tfmot
from autokit.compression.kernels import Kernel, Layers, Selection, select_kernels
from autokit.compression.task import Task
from autokit.training import Constraints, cosine

# The ramp takes the first half of the training, in steps this small that the network keeps up;
# the second half tunes what is left.
RAMP, UPDATES = 0.5, 50
# a network that loses most of its weights has further to go than one that is merely tuned
_RATE_FACTOR = 3.0


@dataclass(frozen=True)
class Pattern:
    """Which zeros may stand together.

    Attributes
    ----------
    block_size : tuple of int
        Inputs and outputs of a block that is zero as a whole.
    m_by_n : tuple (m, n) or None
        m zeros in each n inputs.
    """

    block_size: tuple[int, int] = (1, 1)
    m_by_n: tuple[int, int] | None = None

    def unfit(self, kernel: Kernel) -> str | None:
        """Why a kernel cannot have this pattern; None if it can."""
        height, width = self.block_size
        if self.m_by_n is not None and kernel.n_in < self.m_by_n[1]:
            return f"m_by_n={self.m_by_n} needs {self.m_by_n[1]} inputs, it has {kernel.n_in}"
        if kernel.n_in % height or kernel.n_out % width:
            return (
                f"block_size={self.block_size} does not divide its {kernel.n_in} inputs and "
                f"{kernel.n_out} outputs"
            )
        return None

    def mask(self, matrix: tf.Tensor, sparsity: Any) -> tf.Tensor:
        """Ones where a folded kernel stays, by magnitude; see `tfmot.mask_of`."""
        if self.m_by_n is not None:
            return tfmot.mask_of(matrix, sparsity, self.m_by_n)
        height, width = self.block_size
        if height == width == 1:
            return tfmot.mask_of(matrix, sparsity)
        n_rows, n_columns = matrix.shape
        blocks = tf.reshape(tf.abs(matrix), [n_rows // height, height, n_columns // width, width])
        kept = tfmot.mask_of(tf.reduce_mean(blocks, axis=[1, 3]), sparsity)
        return tf.repeat(tf.repeat(kept, height, axis=0), width, axis=1)

    def zeros_of(self, kernel: Kernel, sparsity: float) -> int:
        """How many zeros a kernel then has, in whole blocks (at least one of them stays)."""
        if self.m_by_n is not None:
            m, n = self.m_by_n
            whole, rest = divmod(kernel.n_in, n)
            # zeros that pad the last group count as its zeros
            columns = kernel.size // kernel.n_in
            return columns * (whole * m + max(0, m - (n - rest) if rest else 0))
        block = self.block_size[0] * self.block_size[1]
        n_blocks = kernel.size // block
        # in float32, as TFMOT rounds
        kept = np.round(np.float32(n_blocks) * (np.float32(1) - np.float32(sparsity)))
        return (n_blocks - int(max(kept, 1))) * block


@dataclass(frozen=True)
class Plan:
    """A schedule whose end is met: the last update comes whatever the frequency.

    Attributes
    ----------
    schedule : tensorflow_model_optimization PruningSchedule
    last : int
        Step of the last update.
    """

    schedule: Any
    last: int

    @classmethod
    def over(cls, steps: int, schedule: Any, sparsity: float) -> Plan:
        """A plan for so many steps of training.

        Raises
        ------
        ValueError
            If a given schedule goes on after them; without any steps its end counts.
        """
        if isinstance(schedule, str):
            end = max(1, int(RAMP * steps) - 1)  # a ramp of no steps would divide by zero
            frequency = max(1, end // UPDATES)
            return cls(tfmot.make_schedule(schedule, sparsity, end, frequency), end)
        end = getattr(schedule, "end_step", -1)
        reached = max(end, getattr(schedule, "begin_step", 0))
        if reached >= steps > 0:
            raise ValueError(
                f"schedule goes on to step {reached}, but training has only {steps} steps "
                "(counted from 0); train for more epochs or end it earlier."
            )
        return cls(schedule, max(0, steps - 1) if end < 0 else end)

    @property
    def target(self) -> float:
        """The sparsity at the end."""
        return float(self.schedule(tf.constant(self.last, tf.int64))[1])

    @property
    def key(self) -> str:
        """Two plans of one key do the same."""
        config = self.schedule.get_config()
        return f"{type(self.schedule).__qualname__}{json.dumps(config, default=str)}@{self.last}"

    def __call__(self, step: tf.Tensor):
        """Whether masks are to be updated at a step, and to which sparsity."""
        due, sparsity = self.schedule(step)
        return due | (step == self.last), sparsity


class Thinning:
    """A projection: the schedule's share of a kernel's smallest weights is zero.

    Parameters
    ----------
    kernel : Kernel
    plan : Plan
    pattern : Pattern
    keep_zeros : bool
        Zeros that the kernel begins with stay.
    """

    def __init__(self, kernel: Kernel, plan: Plan, pattern: Pattern, keep_zeros: bool):
        self._kernel, self._plan, self._pattern = kernel, plan, pattern
        self._keeps = keep_zeros
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._mask: Any = None
        self._stays: Any = None

    def begin(self, variable: keras.Variable) -> None:
        """Forget the mask; count steps from 0."""
        folded = self._kernel.fold(tf.convert_to_tensor(variable.value))
        stays = tf.cast(folded != 0, folded.dtype) if self._keeps else tf.ones_like(folded)
        self._step.assign(0)
        if self._mask is None:
            self._mask = tf.Variable(stays, trainable=False)
            self._stays = tf.Variable(stays, trainable=False)
        else:
            self._mask.assign(stays)
            self._stays.assign(stays)

    def __call__(self, value: tf.Tensor) -> tf.Tensor:
        matrix = self._kernel.fold(tf.convert_to_tensor(value)) * self._stays
        due, sparsity = self._plan(self._step.value())
        mask = tf.cond(
            due, lambda: self._pattern.mask(matrix, sparsity), lambda: self._mask.value()
        )
        self._mask.assign(mask)
        self._step.assign_add(1)
        return self._kernel.unfold(matrix * mask)


def thinning(
    kernels: Iterable[Kernel], plan: Plan, pattern: Pattern, held: Iterable[int] = ()
) -> Constraints:
    """The constraints under which kernels grow sparse.

    Parameters
    ----------
    kernels : iterable of Kernel
    plan : Plan
    pattern : Pattern
    held : iterable of int, default=()
        Places whose zeros stay.

    Returns
    -------
    Constraints
    """
    kernels, held = list(kernels), set(held)
    made = {k.place: lambda k=k: Thinning(k, plan, pattern, k.place in held) for k in kernels}
    places = sorted((place, place in held) for place in made)
    return Constraints(f"thin{places}{plan.key}{pattern}", made)


def enforce(
    model: keras.Model, kernels: Iterable[Kernel], sparsity: float, pattern: Pattern
) -> None:
    """Set to zero what training left short of the sparsity, as it does where it had no steps.

    Parameters
    ----------
    model : keras.Model
        Changed in place.
    kernels : iterable of Kernel
    sparsity : float
    pattern : Pattern
    """
    variables = model.variables
    for kernel in kernels:
        variable = variables[kernel.place]
        value = variable.value.numpy()
        if np.count_nonzero(value == 0) >= pattern.zeros_of(kernel, sparsity):
            continue
        # by rank: of equal weights TFMOT's mask would keep all
        ranks = np.abs(value).reshape(-1).argsort(kind="stable").argsort()
        ranks = tf.constant(ranks.reshape(value.shape) + 1, tf.float32)
        mask = kernel.unfold(pattern.mask(kernel.fold(ranks), sparsity)).numpy()
        variable.assign(np.where(mask == 0, 0, value).astype(value.dtype))


def faster(task: Task) -> None:
    """Let a task tune at three times its learning rate, unless that is a schedule of its own."""
    rate = task.learning_rate
    if rate is None:
        optimizer = keras.optimizers.get(task.optimizer)
        rate = optimizer.get_config()["learning_rate"]
    if isinstance(rate, float):
        task.learning_rate = _RATE_FACTOR * rate


def cooled(share: float) -> float:
    """Factor on the learning rate: 1 while the network is thinned, then a cosine to 0."""
    return 1.0 if share < RAMP else cosine((share - RAMP) / (1 - RAMP))


def choose(model: keras.Model, layers: Layers, pattern: Pattern) -> Selection:
    """The kernels that can have a pattern, see `select_kernels`."""
    return select_kernels(model, layers, pattern.unfit)


def checked_pattern(block_size: Any, m_by_n: Any) -> Pattern:
    """A pattern from a user's arguments.

    Raises
    ------
    ValueError
        If they are not two positive ints each, or both are asked for.
    """
    block = _two_ints("block_size", block_size)
    if m_by_n is None:
        return Pattern(block)
    m, n = _two_ints("m_by_n", m_by_n)
    if m >= n:
        raise ValueError(f"m_by_n must be (m, n) with m < n zeros in n weights; got {m_by_n!r}.")
    if block != (1, 1):
        raise ValueError(
            f"block_size must be (1, 1) with m_by_n={m_by_n!r}; got {block_size!r}. Leave one out."
        )
    return Pattern(block, (m, n))


def _two_ints(name: str, value: Any) -> tuple[int, int]:
    is_pair = isinstance(value, tuple | list) and len(value) == 2
    if not is_pair or not all(isinstance(n, int | np.integer) and n > 0 for n in value):
        raise ValueError(f"{name} must be two positive ints; got {value!r}.")
    return int(value[0]), int(value[1])
