"""A network compressed until its file meets a target."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing, check_random_state

from autokit._backend import keras
from autokit.compression.distillation import Distill
from autokit.compression.method import checked_estimator, earlier_reports
from autokit.compression.pruning import Prune
from autokit.compression.quantization import QuantizeAware
from autokit.compression.report import CompressionReport, Weights
from autokit.compression.structure import PruneBlocks
from autokit.deploy import compare_exports
from autokit.layers import copied
from autokit.training.batches import split_places

QUANTIZATIONS = (None, "float16", "dynamic", "int8", "int4")
_REPAIR_EPOCHS = 2  # after channels went, before the network learns from the former one
_LARGEST_SHARE = 0.5  # of the weights that one round removes
_SPARSEST = 0.9
_MARGIN = 0.95  # a round aims a little below the target


@dataclass(frozen=True)
class CompressionStep:
    """A network that `compress` tried, as a file.

    Attributes
    ----------
    changes : tuple of str
        What was done to the network, the first first; empty for the one given.
    quantization : str
        Of the file; "none" is float32.
    score : float or None
        Accuracy or R2 of the file on the held-out rows; None if there is no file.
    size_bytes, zipped_bytes : int or None
    latency_ms : float or None
        Of one row, on one thread of this machine.
    meets : bool
        Whether all targets are met.
    failure : str or None
        Why there is no file.
    """

    changes: tuple[str, ...]
    quantization: str
    score: float | None
    size_bytes: int | None
    zipped_bytes: int | None
    latency_ms: float | None
    meets: bool
    failure: str | None = None


class TargetNotMet(ValueError):
    """No network within the allowed loss of score meets the targets.

    Attributes
    ----------
    path : list of CompressionStep
        All that was tried.
    """

    def __init__(self, message: str, path: list[CompressionStep]):
        super().__init__(message)
        self.path = path


def compress(
    estimator_or_model: Any,
    X: Any,
    y: Any,
    *,
    max_size_bytes: int | None = None,
    max_latency_ms: float | None = None,
    max_score_drop: float = 0.01,
    zipped: bool = False,
    quantizations: Sequence[str | None] = QUANTIZATIONS,
    epochs: int = 15,
    max_rounds: int = 8,
    validation_data: tuple | None = None,
    random_state: Any = None,
    progress: Callable[[CompressionStep], None] | None = None,
) -> Any:
    """Return a copy whose .tflite file meets a size, a latency and a score.

    The network as it is is exported in each of `quantizations`, mild ones first. If none meets
    the targets, the best of them stays and the network is made smaller round by round: residual
    blocks and channels go (or, for a zipped size, single weights first), the rest learns from
    the network given (`Distill`), and where integers cost too much it is trained for them
    (`QuantizeAware`). Each file is written, run and scored.

    Parameters
    ----------
    estimator_or_model : estimator or keras.Model
        Fitted; it stays as it is.
    X, y : array-like
        Rows and targets as ``fit`` takes them, to tune on.
    max_size_bytes : int, default=None
        Of the file, or with `zipped` of the zip archive that holds it.
    max_latency_ms : float, default=None
        Median of one row on one thread of this machine.
    max_score_drop : float, default=0.01
        How much accuracy (or R2) the file may lose against the network given, on the held-out
        rows.
    zipped : bool, default=False
        Whether `max_size_bytes` is what is downloaded rather than what is stored.
    quantizations : sequence of {None, "float16", "dynamic", "int8", "int4"}
        To choose from, see `export_tflite`.
    epochs : int, default=15
        Of learning after each change.
    max_rounds : int, default=8
        Changes of the network at most.
    validation_data : tuple (X, y), default=None
        Rows to judge by; by default a fifth of `X` is held out for it.
    random_state : int, RandomState or None, default=None
    progress : callable, default=None
        Called with each `CompressionStep`.

    Returns
    -------
    estimator or keras.Model
        Of the same class. ``compression_report_.details`` holds ``quantization`` (what to export
        it with) and ``steps`` (the path that was taken).

    Raises
    ------
    TargetNotMet
        With how near it came.
    ValueError
        If no target is given, or one is not positive.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Examples
    --------
    >>> from autokit import compress, export_tflite
    >>> small = compress(clf, X, y, max_size_bytes=20_000)  # doctest: +SKIP
    >>> quantization = small.compression_report_.details["quantization"]  # doctest: +SKIP
    >>> export_tflite(small, "small.tflite", quantization=quantization,
    ...               representative_data=X)  # doctest: +SKIP
    """
    targets = _Targets(max_size_bytes, max_latency_ms, float(max_score_drop), zipped)
    targets.check()
    if not isinstance(estimator_or_model, keras.Model):
        checked_estimator(estimator_or_model, "compress")
    seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
    if validation_data is None:
        labels = np.asarray(y) if hasattr(estimator_or_model, "classes_") else None
        training, judging = split_places(len(y), 0.2, seed, labels)
        validation_data = _safe_indexing(X, judging), _safe_indexing(y, judging)
        X, y = _safe_indexing(X, training), _safe_indexing(y, training)
    search = _Search(estimator_or_model, X, y, validation_data, targets, epochs, seed, progress)
    return search.run(list(quantizations), max_rounds)


@dataclass(frozen=True)
class _Targets:
    size_bytes: int | None
    latency_ms: float | None
    score_drop: float
    zipped: bool

    def check(self) -> None:
        given = {"max_size_bytes": self.size_bytes, "max_latency_ms": self.latency_ms}
        if all(value is None for value in given.values()):
            raise ValueError("max_size_bytes or max_latency_ms must be given: there is no target.")
        for name, value in given.items():
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value}.")
        if self.score_drop < 0:
            raise ValueError(f"max_score_drop must not be negative, got {self.score_drop}.")

    def size(self, row: Any) -> int:
        return row.zipped_bytes if self.zipped else row.size_bytes

    def excess(self, row: Any) -> float:
        """How many times too large, or too slow; at most 1 if both targets are met."""
        size = 0.0 if self.size_bytes is None else self.size(row) / self.size_bytes
        slow = 0.0 if self.latency_ms is None else row.latency_ms / self.latency_ms
        return max(size, slow)


@dataclass
class _Candidate:
    estimator: Any
    changes: tuple[str, ...] = ()
    sparsity: float = 0.0


@dataclass
class _Search:
    given: Any
    X: Any
    y: Any
    validation: tuple
    targets: _Targets
    epochs: int
    seed: int
    progress: Any
    steps: list[CompressionStep] = field(default_factory=list)
    floor: float = 0.0
    before: float = 0.0
    metric: str = ""
    started: float = field(default_factory=time.perf_counter)

    def run(self, quantizations: list, max_rounds: int) -> Any:
        candidate = _Candidate(self.given)
        files: list[tuple[str | None, Any]] = []
        for quantization in quantizations:
            row = self._measure(candidate, quantization)
            if self._meets(row):
                return self._result(candidate, quantization, row)
            if row.failure is None:
                files.append((quantization, row))
        if not files:
            raise self._not_met()
        good = [file for file in files if file[1].score >= self.floor]
        if good:
            quantization, row = min(good, key=lambda file: self.targets.excess(file[1]))
        else:
            quantization, row = max(files, key=lambda file: file[1].score)
        for _ in range(max_rounds):
            smaller = self._smaller(candidate, row)
            if smaller is None:
                break
            candidate = smaller
            row = self._measure(candidate, quantization)
            if row.failure is None and row.score < self.floor:
                candidate, row = self._rescued(candidate, quantization, row)
            if row.failure is not None or row.score < self.floor:
                break
            if self._meets(row):
                return self._result(candidate, quantization, row)
        raise self._not_met()

    def _measure(self, candidate: _Candidate, quantization: str | None) -> Any:
        compared = compare_exports(
            candidate.estimator,
            *self.validation,
            representative_data=self.X,
            quantizations=[quantization],
        )
        if not self.steps:
            self.before, self.metric = compared.keras_score, compared.score_name
            self.floor = self.before - self.targets.score_drop
        (row,) = compared.rows
        step = CompressionStep(
            candidate.changes,
            row.quantization,
            row.score,
            row.size_bytes,
            row.zipped_bytes,
            row.latency_ms,
            self._meets(row),
            row.failure,
        )
        self.steps.append(step)
        if self.progress is not None:
            self.progress(step)
        return row

    def _meets(self, row: Any) -> bool:
        return row.failure is None and row.score >= self.floor and self.targets.excess(row) <= 1

    def _smaller(self, candidate: _Candidate, row: Any) -> _Candidate | None:
        """The next network: with less of what there is too much of."""
        targets = self.targets
        too_slow = targets.latency_ms is not None and row.latency_ms > targets.latency_ms
        wanted = _MARGIN / targets.excess(row)
        if targets.zipped and not too_slow and candidate.sparsity < _SPARSEST:
            sparsity = 1 - (1 - candidate.sparsity) * max(wanted, 1 - _LARGEST_SHARE)
            sparsity = min(_SPARSEST, sparsity)
            method = Prune(sparsity=sparsity, epochs=self.epochs, random_state=self.seed)
            change, share = f"prune(sparsity={sparsity:.2f})", None
        else:
            sparsity = candidate.sparsity
            share = float(np.clip(1 - wanted, 0.05, _LARGEST_SHARE))
            method = PruneBlocks(
                share=share, rounds=1, epochs=_REPAIR_EPOCHS, random_state=self.seed
            )
            change = f"prune_blocks(share={share:.2f})"
        before = Weights.of(_network(candidate.estimator)).n_weights
        estimator = method.compress(candidate.estimator, self.X, self.y, self.validation)
        if share is not None and Weights.of(_network(estimator)).n_weights > 0.99 * before:
            return None  # nothing is left to take
        return _Candidate(self._taught(estimator), (*candidate.changes, change), sparsity)

    def _taught(self, estimator: Any) -> Any:
        """Let a network learn from the one given."""
        method = Distill(teacher=self.given, epochs=self.epochs, random_state=self.seed)
        return method.compress(estimator, self.X, self.y, self.validation)

    def _rescued(self, candidate: _Candidate, quantization: str | None, row: Any) -> tuple:
        """Win back a score: by training for integers, and by learning for longer."""
        ways = [(f"distill(epochs={2 * self.epochs})", self._longer)]
        if quantization in ("int8", "int4"):
            bits = 4 if quantization == "int4" else 8
            ways.insert(0, (f"quantize_aware(bits={bits})", lambda e: self._for_integers(e, bits)))
        for change, way in ways:
            try:
                estimator = way(candidate.estimator)
            except ValueError:  # nothing in it can be quantised
                continue
            other = _Candidate(estimator, (*candidate.changes, change), candidate.sparsity)
            measured = self._measure(other, quantization)
            if measured.failure is None and measured.score >= self.floor:
                return other, measured
        return candidate, row

    def _longer(self, estimator: Any) -> Any:
        return self._taught(self._taught(estimator))

    def _for_integers(self, estimator: Any, bits: int) -> Any:
        method = QuantizeAware(bits=bits, epochs=self.epochs, random_state=self.seed)
        return method.compress(estimator, self.X, self.y, self.validation)

    def _result(self, candidate: _Candidate, quantization: str | None, row: Any) -> Any:
        old, new = Weights.of(_network(self.given)), Weights.of(_network(candidate.estimator))
        file = replace(new, size_bytes=row.size_bytes, zipped_bytes=row.zipped_bytes)
        report = CompressionReport.between(
            old,
            file,
            method="compress",
            metric=self.metric,
            score_before=self.before,
            score_after=row.score,
            n_rows=len(self.validation[1]),
            seconds=time.perf_counter() - self.started,
            details={
                "quantization": quantization,
                "latency_ms": row.latency_ms,
                "steps": [asdict(step) for step in self.steps],
            },
            path=earlier_reports(candidate.estimator),
        )
        if isinstance(candidate.estimator, keras.Model):
            found = candidate.estimator
            found = copied(found) if found is self.given else found
        else:
            found = copy.copy(candidate.estimator)
        found.compression_report_ = report
        return found

    def _not_met(self) -> TargetNotMet:
        targets = self.targets
        wanted = [
            f"{name}={value:g}"
            for name, value in (
                ("max_size_bytes", targets.size_bytes),
                ("max_latency_ms", targets.latency_ms),
            )
            if value is not None
        ]
        files = [step for step in self.steps if step.failure is None]
        within = [step for step in files if step.score >= self.floor]
        if within:
            near = min(within, key=targets.excess)
            told = f"the nearest within it is {_described(near, self.metric)}"
        elif files:
            best = max(files, key=lambda step: step.score)
            told = f"no file is within it; the best is {_described(best, self.metric)}"
        else:
            told = f"no file could be written: {self.steps[-1].failure}"
        small = [step for step in files if targets.excess(step) <= 1]
        if small:
            best = max(small, key=lambda step: step.score)
            told += f", the best that is small and fast enough {_described(best, self.metric)}"
        return TargetNotMet(
            f"{' and '.join(wanted)} cannot be met within max_score_drop={targets.score_drop:g} of "
            f"the {self.metric} {self.before:.4f}: {told}; allow a larger drop, more epochs or "
            "more rounds, or begin with a smaller network.",
            self.steps,
        )


def _described(step: CompressionStep, metric: str) -> str:
    return (
        f"{step.quantization} of {step.size_bytes} bytes ({step.zipped_bytes} zipped), "
        f"{step.latency_ms:.3f} ms, {metric} {step.score:.4f}"
    )


def _network(estimator_or_model: Any) -> keras.Model:
    return getattr(estimator_or_model, "model_", estimator_or_model)
