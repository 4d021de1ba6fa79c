"""Predictions from a .tflite file. Needs LiteRT and NumPy; never TensorFlow or Keras."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from autokit.deploy import metadata as _metadata
from autokit.deploy.quiet import quiet

_CHUNK = 256


class TFLiteModel:
    """A .tflite file, loaded in LiteRT.

    Parameters
    ----------
    path : str or Path
        A file from :func:`~autokit.deploy.export_tflite`. Any other .tflite file gives its raw
        outputs.
    n_threads : int, default=1
        Threads of the interpreter.

    Attributes
    ----------
    path : Path
        The file.
    metadata : dict
        What the file says about itself: ``task``, ``classes``, ``rows`` (columns, shapes),
        ``quantization``, ``autokit`` (version), ...; empty for a file of other make.

    Raises
    ------
    ValueError
        If the file is not a .tflite file, is corrupted, or needs operators that LiteRT lacks.
    OSError
        If it cannot be read.

    Notes
    -----
    Not for use from several threads at once: load the file once for each.

    Examples
    --------
    >>> from autokit.deploy import TFLiteModel
    >>> model = TFLiteModel("digits.tflite")  # doctest: +SKIP
    >>> model.predict(X_test[:3])  # doctest: +SKIP
    array([2, 8, 2])
    """

    def __init__(self, path: str | Path, *, n_threads: int = 1):
        self.path = Path(path)
        self.metadata = _metadata.read(self.path)
        self._interpreter = _load(self.path, n_threads)
        self._inputs = _named(self._interpreter, "input")
        self._outputs = _named(self._interpreter, "output")
        self._batch: int | None = None  # rows the tensors are allocated for

    @property
    def classes_(self) -> np.ndarray:
        """Class labels, in the order of ``predict_proba``'s columns; only for classifiers."""
        if self.metadata.get("classes") is None:
            raise AttributeError(f"{self._without_labels()}; use predict for its raw outputs.")
        return np.array(self.metadata["classes"], dtype=self.metadata["classes_dtype"])

    def predict(self, X: Any) -> np.ndarray | dict[str, np.ndarray]:
        """Predict classes, or a regression's values, or raw outputs.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, ...)
            Rows as the estimator took them. For a file without columns (a plain Keras model's,
            or of other make) the input tensor, or a list or dict of them if there are several.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Or a dict of arrays, for a plain model with several outputs.

        Raises
        ------
        ValueError
            If X does not fit the file's inputs.
        """
        outputs = self.run(self.tensors(X))
        if len(outputs) > 1:
            return outputs
        (output,) = outputs.values()
        if self.metadata.get("classes") is not None:
            return self.classes_[output.argmax(axis=1)]
        return output[:, 0] if self.metadata.get("target_ndim") == 1 else output

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, ...)
            Rows as the estimator took them.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.

        Raises
        ------
        AttributeError
            If the file is not a classifier's.
        ValueError
            If X does not fit the file's inputs.
        """
        if self.metadata.get("classes") is None:
            raise AttributeError(f"{self._without_labels()}; use predict instead.")
        return next(iter(self.run(self.tensors(X)).values()))

    def specs(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Return each input tensor's shape without the batch dimension, and its dtype."""
        specs = {}
        for name, detail in self._inputs.items():
            is_text = detail["dtype"] == np.bytes_
            dtype = np.dtype("S1") if is_text else np.dtype(detail["dtype"])
            specs[name] = (tuple(int(n) for n in detail["shape"][1:]), dtype)
        return specs

    def tensors(self, X: Any) -> dict[str, np.ndarray]:
        """Turn rows into the arrays that the file takes.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, ...)
            As for :meth:`predict`.

        Returns
        -------
        dict of str to ndarray
            By input name.

        Raises
        ------
        ValueError
            If X does not fit.
        """
        if self.metadata.get("rows") is not None:
            from autokit.preprocessing.raw import RawRows

            rows = self.metadata["rows"]
            if not hasattr(X, "columns"):
                # Where there is no DataFrame there are no names to warn about.
                columns = [{**column, "name": None} for column in rows.get("columns", ())]
                rows = {**rows, "columns": columns}
            return RawRows(rows).tensors(X, "TFLiteModel")
        if isinstance(X, dict):
            given = {identifier(str(name)): value for name, value in X.items()}
        elif len(self._inputs) == 1:
            given = {next(iter(self._inputs)): X}
        elif isinstance(X, list | tuple) and len(X) == len(self._inputs):
            given = dict(zip(self._inputs, X, strict=True))
        else:
            given = {}
        if given.keys() != self._inputs.keys():
            raise ValueError(
                f"X must give the inputs {', '.join(self._inputs)} of {self.path.name}, as a list "
                f"in this order or a dict; got {', '.join(given) or f'a {type(X).__name__}'}."
            )
        return {name: self._fitted(name, value) for name, value in given.items()}

    def run(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the graph on input tensors.

        Parameters
        ----------
        tensors : dict of str to ndarray
            As from :meth:`tensors`. Where the graph allows no other batch size than its own,
            as with recurrent layers, rows are run one by one.

        Returns
        -------
        dict of str to ndarray
            Outputs by name.
        """
        n_rows = len(next(iter(tensors.values())))
        step = self._fixed_batch() or _CHUNK
        if n_rows % step and self._fixed_batch():
            raise ValueError(f"X must have a multiple of {step} rows for this file, got {n_rows}.")
        if 0 < n_rows <= step:
            return self._invoke(tensors, n_rows)
        parts = [
            self._invoke({k: v[i : i + step] for k, v in tensors.items()}, min(step, n_rows - i))
            for i in range(0, n_rows, step)
        ]
        if not parts:
            raise ValueError("X has 0 rows; give at least one.")
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _invoke(self, tensors: dict[str, np.ndarray], n_rows: int) -> dict[str, np.ndarray]:
        interpreter = self._interpreter
        try:
            if n_rows != self._batch:
                for name, detail in self._inputs.items():
                    shape = [n_rows, *(int(n) for n in tensors[name].shape[1:])]
                    interpreter.resize_tensor_input(detail["index"], shape)
                interpreter.allocate_tensors()
                self._batch = n_rows
            for name, detail in self._inputs.items():
                interpreter.set_tensor(detail["index"], tensors[name])
            interpreter.invoke()
            return {n: interpreter.get_tensor(d["index"]) for n, d in self._outputs.items()}
        except RuntimeError as error:
            self._batch = None
            reason = " ".join(str(error).split())[:300]
            raise ValueError(
                f"LiteRT cannot run {self.path.name} on these rows: {reason}"
            ) from error

    def _fixed_batch(self) -> int | None:
        sizes = {int(d["shape_signature"][0]) for d in self._inputs.values() if len(d["shape"])}
        return max(sizes) if sizes and min(sizes) > 0 else None

    def _fitted(self, name: str, value: Any) -> np.ndarray:
        """Check one plain input, and cast it if nothing but precision is lost."""
        array = np.asarray(value)
        shape, dtype = self.specs()[name]
        signature = self._inputs[name]["shape_signature"][1:]
        fits = array.ndim == len(shape) + 1 and all(
            n in (-1, m) for n, m in zip(signature, array.shape[1:], strict=True)
        )
        if not fits:
            raise ValueError(
                f"X must be of shape (n_samples, {', '.join(map(str, shape))}) for the input "
                f"{name!r}, got {array.shape}; reshape it so that the first axis counts samples."
            )
        if dtype.kind == "S":
            return array.astype(object)
        if not np.can_cast(array.dtype, dtype, "same_kind") and dtype.kind != "f":
            raise ValueError(
                f"X must be {dtype} for the input {name!r}, got {array.dtype}; cast it with "
                f"X.astype({dtype.name!r})."
            )
        return array.astype(dtype, copy=False)

    def _without_labels(self) -> str:
        if not self.metadata:
            return f"{self.path.name} holds no labels: autokit did not write it"
        return f"{self.path.name} holds no labels: it is no classifier's"


def identifier(name: str) -> str:
    """Return an input's or output's name as a file spells it."""
    return re.sub(r"\W", "_", name)


def _load(path: Path, n_threads: int) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    try:
        with quiet():
            interpreter = Interpreter(model_path=str(path), num_threads=int(n_threads))
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"path: LiteRT cannot load {path}: {reason}; the file is corrupted, or needs operators "
            "beyond the built-in ones."
        ) from error
    return interpreter


def _named(interpreter: Any, which: str) -> dict[str, dict]:
    """Inputs or outputs by the names of the signature, or of the tensors if there is none."""
    details = getattr(interpreter, f"get_{which}_details")()
    names = {d["index"]: d["name"] for d in details}
    for signature in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(signature)
        signed = getattr(runner, f"get_{which}_details")()
        by_index = {d["index"]: name for name, d in signed.items()}
        if by_index.keys() == names.keys():
            names = by_index
            break
    return {names[d["index"]]: d for d in details}
