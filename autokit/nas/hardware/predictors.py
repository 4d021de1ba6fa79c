"""Latency of architectures on a device, predicted from some that were measured there."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from autokit.names import described
from autokit.nas.hardware.regression import Features, gaussian_process, lookup_table

FORMAT = 1
MIN_MEASUREMENTS = 5
FOLDS = 10
MARGIN_QUANTILE = 0.95


class PredictionError(NamedTuple):
    """How wrong a predictor is, found by leaving out a tenth of its measurements at a time.

    Attributes
    ----------
    n : int
        Measurements.
    rmse_ms : float
        Root of the mean squared error.
    mape : float
        Mean error relative to what was measured.
    spearman : float
        Rank correlation of predicted and measured latency.
    margin_ms : float
        Of 20 measurements, 19 exceed their prediction by no more.
    """

    n: int
    rmse_ms: float
    mape: float
    spearman: float
    margin_ms: float

    def __str__(self) -> str:
        return (
            f"± {self.rmse_ms:.3g} ms ({100 * self.mape:.0f} %), rank correlation "
            f"{self.spearman:.2f}, from {self.n} measurements"
        )


class LatencyPredictor:
    """What is common to predictors: fit on measurements, know the own error, save, load.

    A subclass gives `learn` and `answer`, two functions of arrays.

    Parameters
    ----------
    space : SearchSpace
        Whose architectures are predicted.
    input_shape : tuple of int or None, default=None
        Of one row in the networks that are measured; None is not checked.
    costs : callable or None, default=None
        From an architecture to positive numbers that latency may depend on, for example
        ``(n_params, flops)``. They help where there are few measurements: on NAS-Bench-201 much
        at 10, hardly at 50.
    measure : callable or None, default=None
        ``(path) -> ms``, which times a .tflite file on the device. With it, the network that a
        search returns is measured; without it, it must keep the limit with ``margin_ms`` on top.

    Attributes
    ----------
    error_ : PredictionError
        Cross-validated on the measurements.
    """

    learn: Callable[[Features, np.ndarray], dict[str, np.ndarray]]
    answer: Callable[[dict[str, np.ndarray], Features], np.ndarray]

    def __init__(
        self,
        space: Any,
        *,
        input_shape: tuple[int, ...] | None = None,
        costs: Callable[[Any], Sequence[float]] | None = None,
        measure: Callable[[Path], float] | None = None,
    ):
        self.space, self.costs, self.measure = space, costs, measure
        self.input_shape = None if input_shape is None else tuple(int(n) for n in input_shape)

    def fit(self, architectures: Sequence[Any], latencies_ms: Any) -> Self:
        """Learn from measurements.

        Parameters
        ----------
        architectures : sequence of architectures
            At least five.
        latencies_ms : array of shape (n_architectures,)
            Milliseconds of one row.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            There are too few, or not one time for each, or a time is no positive number, or an
            architecture is not of the space.
        """
        ms = np.asarray(latencies_ms, float)
        if ms.shape != (len(architectures),):
            raise ValueError(
                f"latencies_ms must hold one number for each of the {len(architectures)} "
                f"architectures; got shape {ms.shape}."
            )
        if len(ms) < MIN_MEASUREMENTS:
            raise ValueError(
                f"latencies_ms must hold at least {MIN_MEASUREMENTS} measurements, better 50; got "
                f"{len(ms)}."
            )
        if not (np.isfinite(ms).all() and (ms > 0).all()):
            raise ValueError(
                f"latencies_ms must be positive numbers; got {ms[~(ms > 0) | ~np.isfinite(ms)][0]}."
            )
        features = self._features(architectures)
        learned, error = self.learn(features, ms), self._cross_validated(features, ms)
        self.learned_, self.error_ = learned, error
        return self

    def predict(self, architectures: Sequence[Any]) -> np.ndarray:
        """Predict latencies.

        Parameters
        ----------
        architectures : sequence of architectures

        Returns
        -------
        np.ndarray of shape (n_architectures,)
            Milliseconds, not negative.

        Raises
        ------
        ValueError
            An architecture is not of the predictor's space.
        """
        self._check_fitted()
        if len(architectures) == 0:
            return np.empty(0)
        return np.maximum(self.answer(self.learned_, self._features(architectures)), 0.0)

    def check(self, space: Any, input_shape: tuple[int, ...] | None = None) -> None:
        """Refuse a search whose architectures are not those that were measured.

        Raises
        ------
        ValueError
            The space, or its rows, are others; or the predictor was never fitted.
        """
        self._check_fitted()
        mine, its = described(self.space), described(space)
        if mine != its:
            raise ValueError(
                f"device is a LatencyPredictor for another space: it was fitted in {mine}, but the "
                f"search is in {its}; fit one from measurements of this space."
            )
        if None not in (self.input_shape, input_shape) and self.input_shape != tuple(input_shape):
            raise ValueError(
                f"device is a LatencyPredictor for rows of shape {self.input_shape}, but the "
                f"search has rows of shape {tuple(input_shape)}; fit one from measurements of such."
            )

    def save(self, path: str | Path) -> None:
        """Write what was learned to an .npz file, without pickle.

        `costs` and `measure` are functions, and stay behind.
        """
        from autokit.deploy.files import checked_path, written

        self._check_fitted()
        path = checked_path(path, overwrite=True)
        about = {
            "format": FORMAT,
            "predictor": type(self).__qualname__,
            "space": described(self.space),
            "input_shape": self.input_shape,
            "has_costs": self.costs is not None,
            "error": self.error_._asdict(),
        }
        file = io.BytesIO()
        np.savez(file, about=np.array(json.dumps(about)), **self.learned_)
        with written(path, file.getvalue()):
            pass

    @classmethod
    def load(
        cls,
        path: str | Path,
        space: Any,
        *,
        costs: Callable[[Any], Sequence[float]] | None = None,
        measure: Callable[[Path], float] | None = None,
    ) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or path-like
        space : SearchSpace
            Like the one it was fitted in.
        costs, measure : callable or None
            As given to the constructor.

        Raises
        ------
        ValueError
            The file is no such predictor, or was fitted in another space, or with `costs`.
        OSError
            It cannot be read.
        """
        about, learned = _read(path)
        if about["predictor"] != cls.__qualname__:
            raise ValueError(
                f"path: {path} holds a {about['predictor']}; read it with "
                f"{about['predictor']}.load."
            )
        if about["has_costs"] != (costs is not None):
            verb = "with" if about["has_costs"] else "without"
            raise ValueError(f"costs: the predictor of {path} was fitted {verb} costs; load it so.")
        shape = about["input_shape"]
        predictor = cls(space, input_shape=shape, costs=costs, measure=measure)
        predictor.learned_ = learned
        predictor.error_ = PredictionError(**about["error"])
        if about["space"] != described(space):
            raise ValueError(
                f"space: the predictor of {path} was fitted in {about['space']}; got "
                f"{described(space)}."
            )
        return predictor

    def _check_fitted(self) -> None:
        if not hasattr(self, "learned_"):
            raise ValueError(
                f"device: this {type(self).__name__} is not fitted; call its fit with "
                "architectures and measured milliseconds first."
            )

    def _features(self, architectures) -> Features:
        simplified = getattr(self.space, "simplified", None)
        try:
            codes = np.array([self.space.encode(a) for a in architectures], float)
            live = codes[:, :0]
            if simplified is not None:
                live = np.array([self.space.encode(simplified(a)) for a in architectures], float)
        except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
            kinds = ", ".join(sorted({type(a).__name__ for a in architectures}))
            raise ValueError(
                f"architectures must be of the predictor's space {described(self.space)}; got "
                f"{kinds} that it cannot encode ({error})."
            ) from error
        costs = codes[:, :0]
        if self.costs is not None:
            costs = np.log(np.array([list(self.costs(a)) for a in architectures], float))
        return Features(codes, live, costs)

    def _cross_validated(self, features: Features, ms: np.ndarray) -> PredictionError:
        """Errors on tenths that were left out; with the same folds for the same number of rows."""
        n, predicted = len(ms), np.empty(len(ms))
        order = np.random.default_rng(0).permutation(n)
        for fold in np.array_split(order, min(n, FOLDS)):
            rest = np.setdiff1d(order, fold)
            learned = self.learn(features.take(rest), ms[rest])
            predicted[fold] = np.maximum(self.answer(learned, features.take(fold)), 0.0)
        missing = ms - predicted
        return PredictionError(
            n,
            float(np.sqrt(np.mean(missing**2))),
            float(np.mean(np.abs(missing) / ms)),
            spearman(predicted, ms),
            float(max(0.0, np.quantile(missing, MARGIN_QUANTILE, method="higher"))),
        )


class LookupTablePredictor(LatencyPredictor):
    """Latency as a sum of times, one for each element of the code.

    ::

        latency(a) = base + sum_j times_j * encode(a)_j        with base, times >= 0

    The times are found by non-negative least squares, so that on one-hot codes each is what an
    operation at its place takes. It needs about as many measurements as the code is long.
    Parameters are `LatencyPredictor`'s; `costs` are not used.

    References
    ----------
    Cai, Zhu, Han, "ProxylessNAS", ICLR 2019, appendix B, with a table that was measured operation
    by operation; ours is solved from whole networks, and so holds what lies between them too.
    """

    learn = staticmethod(lookup_table.learn)
    answer = staticmethod(lookup_table.answer)

    @property
    def table_(self) -> np.ndarray:
        """Milliseconds of each element of the code."""
        return self.learned_["times"]

    @property
    def base_(self) -> float:
        """Milliseconds of what all networks have in common."""
        return float(self.learned_["base"])


class GaussianProcessPredictor(LatencyPredictor):
    """Latency as a Gaussian process over codes, their simplified forms and costs.

    ::

        k(a, b) = sum_g s_g <x_g, y_g> / d_g  +  s exp(-|x - y|^2 / 2 l^2)  +  constant  +  noise

    The groups ``g`` are the code, the code of the simplified architecture where the space can
    simplify (see `SearchSpace`), and logarithms of `costs` with the costs themselves. The linear
    part says that operations add up, the other one what they save or cost in company. Scales are
    those of the greatest posterior, so that what does not matter on a device is switched off.
    Parameters are `LatencyPredictor`'s.

    References
    ----------
    Rasmussen, Williams, "Gaussian Processes for Machine Learning", 2006, algorithm 2.1 and
    equation 5.9.
    """

    learn = staticmethod(gaussian_process.learn)
    answer = staticmethod(gaussian_process.answer)


PREDICTORS = {
    "gaussian_process": GaussianProcessPredictor,
    "lookup_table": LookupTablePredictor,
}


def load_predictor(path: str | Path, space: Any, **options: Any) -> LatencyPredictor:
    """Read a predictor of this package, whichever it is; see `LatencyPredictor.load`."""
    kind = _read(path)[0]["predictor"]
    known = {cls.__qualname__: cls for cls in PREDICTORS.values()}
    if kind not in known:
        raise ValueError(f"path: {path} holds a {kind}; read it with that class's load.")
    return known[kind].load(path, space, **options)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation; 0 where all of either are equal."""
    from scipy.stats import rankdata

    a, b = rankdata(a), rankdata(b)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _read(path: str | Path) -> tuple[dict, dict[str, np.ndarray]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        about = json.loads(str(arrays.pop("about")))
        if about["format"] != FORMAT:
            raise ValueError(f"format {about['format']}")
    except OSError:
        raise
    except Exception as error:
        raise ValueError(
            f"path: {path} is not a saved LatencyPredictor ({error}); write one with its save."
        ) from error
    return about, arrays
