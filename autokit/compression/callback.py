"""Pruning in Keras' own ``Model.fit``."""

from __future__ import annotations

from typing import Any

from autokit._backend import keras
from autokit.compression import tfmot
from autokit.compression.kernels import Layers
from autokit.compression.sparsity import Plan, checked_pattern, choose, enforce, thinning
from autokit.training import Held


class PruneLowMagnitude(keras.callbacks.Callback):
    """Prune a model while ``Model.fit`` trains it, inside the compiled step.

    Exact also with ``steps_per_execution``, ``jit_compile`` and mixed precision. Afterwards the
    model has ``held_``, and its variables constraints that keep the zeros in further training.

    Parameters
    ----------
    sparsity, schedule, block_size, m_by_n, layers
        As for `autokit.compression.Prune`, except ``sparsity="auto"``.

    Raises
    ------
    ValueError
        When training begins, as `autokit.compression.Prune` does, or if the number of steps an
        epoch is not known.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from autokit.compression import PruneLowMagnitude
    >>> model = keras.Sequential([keras.Input((40,)), keras.layers.Dense(20)])
    >>> model.compile("adam", "mse", steps_per_execution=8)
    >>> X = np.ones((64, 40), "float32")
    >>> _ = model.fit(X, X[:, :20], epochs=4, verbose=0, callbacks=[PruneLowMagnitude(0.8)])
    >>> float((model.layers[0].kernel.numpy() == 0).mean())
    0.8
    """

    def __init__(
        self,
        sparsity: float = 0.8,
        schedule: Any = "polynomial",
        block_size: Any = (1, 1),
        m_by_n: Any = None,
        layers: Layers = "auto",
    ):
        super().__init__()
        if not isinstance(sparsity, float) or not 0 < sparsity < 1:
            raise ValueError(f"sparsity must be a float in the range (0, 1); got {sparsity!r}.")
        if schedule not in ("polynomial", "constant") and not tfmot.is_schedule(schedule):
            raise ValueError(
                "schedule must be 'polynomial', 'constant' or a PruningSchedule of "
                f"tensorflow_model_optimization; got {schedule!r}."
            )
        self.sparsity, self.schedule, self.layers = sparsity, schedule, layers
        self._pattern = checked_pattern(block_size, m_by_n)

    def on_train_begin(self, logs=None) -> None:
        """Constrain the kernels."""
        if self.model.train_function is None:
            raise RuntimeError(
                "PruneLowMagnitude works in keras' Model.fit; give an estimator "
                "compression=Prune(...) instead."
            )
        steps = self.params["steps"]
        if steps is None and isinstance(self.schedule, str):
            raise ValueError(
                "schedule needs the number of steps an epoch; give fit steps_per_epoch, or a "
                "schedule of tensorflow_model_optimization with an end_step."
            )
        n_steps = 2**62 if steps is None else steps * self.params["epochs"]
        self._plan = Plan.over(n_steps, self.schedule, self.sparsity)
        self._kernels = choose(self.model, self.layers, self._pattern).kernels
        constraints = thinning(self._kernels, self._plan, self._pattern)
        self._attached = constraints.attach(self.model)
        self.model.make_train_function(force=True)  # an earlier trace has no constraints

    def on_train_end(self, logs=None) -> None:
        """Keep the zeros from now on."""
        self._attached.detach()
        enforce(self.model, self._kernels, self._plan.target, self._pattern)
        former = getattr(self.model, "held_", Held())
        places = {k.place for k in self._kernels}
        self.model.held_ = Held(
            zeros=tuple(sorted(places.union(former.zeros))),
            clusters=tuple(i for i in former.clusters if i not in places),
        )
        self.model.held_.constraints().attach(self.model)
        self.model.train_function = None  # its trace counts the schedule's steps
