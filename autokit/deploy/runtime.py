"""Predictions from a .tflite file. Needs LiteRT and NumPy; never TensorFlow or Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from autokit.deploy import metadata as _metadata
from autokit.deploy.litert import LoadedFile
from autokit.deploy.plain_inputs import plain_tensors, specs_of


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
        self._file = LoadedFile(self.path, n_threads)
        self._inputs = self._file.inputs
        self._head: dict[str, np.ndarray] | None = None

    @property
    def signatures(self) -> tuple[str, ...]:
        """Names of the graphs in the file, such as ``serve``, ``embed`` and ``train_head``."""
        return self._file.signatures

    @property
    def head(self) -> dict[str, np.ndarray]:
        """The last layer that predictions use: ``kernel``, ``bias``; may be set, None for shipped.

        It is what an application stores of its training. Only for files with the signatures
        ``train_head`` or ``infer``.
        """
        return self.shipped_head() if self._head is None else self._head

    @head.setter
    def head(self, value: dict[str, np.ndarray] | None) -> None:
        if value is None:
            self._head = None
            return
        self._need("infer")
        shapes = {name: tuple(self.metadata["head"][name]) for name in ("kernel", "bias")}
        value = {name: np.asarray(value[name], np.float32) for name in shapes}
        for name, shape in shapes.items():
            if value[name].shape != shape:
                raise ValueError(
                    f"head: {name} must be of shape {shape} for {self.path.name}, got "
                    f"{value[name].shape}."
                )
        self._head = value

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

    def embed(self, X: Any) -> np.ndarray:
        """Compute what the last layer sees.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, ...)
            Rows as for :meth:`predict`.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
            Features.

        Raises
        ------
        AttributeError
            If the file was exported without the signature ``embed``.
        ValueError
            If X does not fit the file's inputs.
        """
        self._need("embed")
        return self.run_signature("embed", self.tensors(X), {})["embedding"]

    def classify(self, X: Any, prototypes: Any) -> np.ndarray:
        """Answer for classes of which there are a few rows: those whose means are nearest.

        ``prototypes[k] = file.embed(rows of class k).mean(axis=0)`` is all there is to learn.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, ...)
            Rows as for :meth:`predict`.
        prototypes : array-like of shape (n_classes, n_features)
            Of any number of classes.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float32
            Probabilities, in the order of `prototypes`.

        Raises
        ------
        AttributeError
            If the file was exported without the signature ``classify``.
        ValueError
            If X or `prototypes` do not fit the file.
        """
        self._need("classify")
        given = np.asarray(prototypes, np.float32)
        wanted = {t["name"]: t["shape"] for t in self.metadata["signatures"]["classify"]["inputs"]}
        width = wanted["prototypes"][1]
        if given.ndim != 2 or given.shape[1] != width or not len(given):
            raise ValueError(
                f"prototypes must be of shape (n_classes, {width}) for {self.path.name}, got "
                f"{given.shape}; stack the mean of embed(rows) of each class."
            )
        if not np.isfinite(given).all():
            raise ValueError(
                "prototypes must be finite; the mean over the rows of a class needs at least one."
            )
        return self.run_signature("classify", self.tensors(X), {"prototypes": given})["output"]

    def partial_fit(
        self,
        X: Any,
        y: Any,
        *,
        learning_rate: float = 0.1,
        epochs: int = 1,
        batch_size: int = 32,
        random_state: int = 0,
    ) -> TFLiteModel:
        """Train the last layer in LiteRT, by gradient descent, from where it is.

        The file on disk stays as it is; ``head`` holds what was learned, and predictions use it.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, ...)
            Rows as for :meth:`predict`.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels of ``classes_``, or numbers in the target's units; for a plain model with a
            softmax, class indices.
        learning_rate : float, default=0.1
            Of gradient descent.
        epochs : int, default=1
            Passes over the rows, which are embedded once.
        batch_size : int, default=32
            Rows of a step.
        random_state : int, default=0
            Seed of the order of rows.

        Returns
        -------
        TFLiteModel
            Itself.

        Raises
        ------
        AttributeError
            If the file was not exported with the signatures ``embed``, ``train_head`` and
            ``infer``.
        ValueError
            If X or y do not fit the file, or training diverged; ``head`` is as before then.
        """
        from autokit.deploy.on_device import encoded_targets, trained_head

        for name in ("embed", "train_head", "infer"):
            self._need(name)
        for name, value in (("epochs", epochs), ("batch_size", batch_size)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        embedding, targets = self.embed(X), encoded_targets(y, self.metadata)
        n_targets = len(next(iter(targets.values())))
        if n_targets != len(embedding):
            raise ValueError(
                f"y has {n_targets} targets for {len(embedding)} rows; pass one for each row."
            )
        head, loss = trained_head(
            self.run_signature,
            self.head,
            embedding,
            targets,
            learning_rate=learning_rate,
            epochs=epochs,
            batch_size=batch_size,
            random_state=random_state,
        )
        if not all(np.isfinite(values).all() for values in head.values()):
            raise ValueError(
                f"learning_rate={learning_rate:g} made the loss {loss:g}; lower it. The head is as "
                "before."
            )
        self._head = head
        return self

    def shipped_head(self) -> dict[str, np.ndarray]:
        """Return the last layer as it was exported: ``kernel``, ``bias``."""
        self._need("head")
        return self.run_signature("head", {}, {"scale": np.ones(1, np.float32)})

    def shipped_prototypes(self) -> np.ndarray:
        """Return prototypes of the classes that were exported, of shape (n_classes, n_features)."""
        self._need("prototypes")
        return self.run_signature("prototypes", {}, {"scale": np.ones(1, np.float32)})["prototypes"]

    def specs(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Return each input tensor's shape without the batch dimension, and its dtype."""
        return specs_of(self._inputs)

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
        return plain_tensors(X, self._inputs, self.path.name)

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
        if self._head is not None:
            return self.run_signature("infer", tensors, self._head)
        return self._file.run(tensors)

    def run_signature(
        self, name: str, tensors: dict[str, np.ndarray], others: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Run one of the file's graphs.

        Parameters
        ----------
        name : str
            Of ``signatures``.
        tensors : dict of str to ndarray
            Its inputs that hold a row for each sample, as from :meth:`tensors`; may be empty.
        others : dict of str to ndarray
            Its other inputs.

        Returns
        -------
        dict of str to ndarray
            Outputs by name.

        Raises
        ------
        ValueError
            If LiteRT cannot run it on these.
        """
        return self._file.run_signature(name, tensors, others)

    def _need(self, signature: str) -> None:
        if signature in self.signatures and "head" in self.metadata:
            return
        together = "('embed', 'train_head', 'infer')"
        wanted = "infer" if signature == "head" else signature
        if signature in ("classify", "prototypes"):
            together, wanted = "('embed', 'classify')", "classify"
        raise AttributeError(
            f"{self.path.name} has no signature {signature!r}; export it with "
            f"signatures={together}, or with {wanted!r} at least."
        )

    def _without_labels(self) -> str:
        if not self.metadata:
            return f"{self.path.name} holds no labels: autokit did not write it"
        return f"{self.path.name} holds no labels: it is no classifier's"
