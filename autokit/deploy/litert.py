"""A .tflite file in LiteRT's interpreter: tensors in, tensors out. Needs NumPy beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from autokit.deploy.quiet import quiet

Arrays = dict[str, np.ndarray]

_CHUNK = 256


class LoadedFile:
    """A file and its interpreter.

    Parameters
    ----------
    path : Path
        A .tflite file.
    n_threads : int
        Threads of the interpreter.

    Attributes
    ----------
    inputs, outputs : dict of str to dict
        LiteRT's details of the tensors of the first graph, by name.
    signatures : tuple of str
        Names of all graphs.

    Raises
    ------
    ValueError
        If LiteRT cannot load the file.
    """

    def __init__(self, path: Path, n_threads: int = 1) -> None:
        self.path = path
        self._interpreter = _load(path, n_threads)
        self.inputs = _named(self._interpreter, "input")
        self.outputs = _named(self._interpreter, "output")
        self.signatures = tuple(self._interpreter.get_signature_list())
        self._batch: int | None = None  # rows the tensors are allocated for

    def run(self, tensors: Arrays) -> Arrays:
        """Run the first graph; numbers are quantised where it takes or gives integers for them.

        Parameters
        ----------
        tensors : dict of str to ndarray
            Its inputs, a row for each sample.

        Returns
        -------
        dict of str to ndarray
            Outputs by name.

        Raises
        ------
        ValueError
            If LiteRT cannot run it on these.
        """
        return self._in_chunks(tensors, self._invoke)

    def run_signature(self, name: str, tensors: Arrays, others: Arrays) -> Arrays:
        """Run one of the file's graphs.

        Parameters
        ----------
        name : str
            Of ``signatures``.
        tensors : dict of str to ndarray
            Its inputs that hold a row for each sample, may be empty.
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
        # A kept runner would keep the interpreter from resizing its tensors.
        runner = self._interpreter.get_signature_runner(name)

        def call(inputs: Arrays) -> Arrays:
            try:
                return dict(runner(**inputs, **others))
            except RuntimeError as error:
                raise self._not_run(error) from error

        return self._in_chunks(tensors, call) if tensors else call({})

    def _in_chunks(self, tensors: Arrays, call: Callable[[Arrays], Arrays]) -> Arrays:
        n_rows = len(next(iter(tensors.values())))
        step = self._fixed_batch() or _CHUNK
        if n_rows % step and self._fixed_batch():
            raise ValueError(f"X must have a multiple of {step} rows for this file, got {n_rows}.")
        if 0 < n_rows <= step:
            return call(tensors)
        parts = [
            call({k: v[i : i + step] for k, v in tensors.items()}) for i in range(0, n_rows, step)
        ]
        if not parts:
            raise ValueError("X has 0 rows; give at least one.")
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _invoke(self, tensors: Arrays) -> Arrays:
        interpreter = self._interpreter
        n_rows = len(next(iter(tensors.values())))
        try:
            if n_rows != self._batch:
                for name, detail in self.inputs.items():
                    shape = [n_rows, *(int(n) for n in tensors[name].shape[1:])]
                    interpreter.resize_tensor_input(detail["index"], shape)
                interpreter.allocate_tensors()
                self._batch = n_rows
            for name, detail in self.inputs.items():
                interpreter.set_tensor(detail["index"], _quantized(tensors[name], detail))
            interpreter.invoke()
            return {
                name: _dequantized(interpreter.get_tensor(detail["index"]), detail)
                for name, detail in self.outputs.items()
            }
        except RuntimeError as error:
            self._batch = None
            raise self._not_run(error) from error

    def _not_run(self, error: RuntimeError) -> ValueError:
        reason = " ".join(str(error).split())[:300]
        return ValueError(f"LiteRT cannot run {self.path.name} on these rows: {reason}")

    def _fixed_batch(self) -> int | None:
        sizes = {int(d["shape_signature"][0]) for d in self.inputs.values() if len(d["shape"])}
        return max(sizes) if sizes and min(sizes) > 0 else None


def _quantized(values: np.ndarray, detail: dict) -> np.ndarray:
    """Numbers to the integers that the file takes, where it takes integers for numbers."""
    scale, zero_point = detail["quantization"]
    if not scale or values.dtype.kind != "f":
        return values
    limits = np.iinfo(detail["dtype"])
    steps = np.rint(values / np.float32(scale)) + zero_point
    return np.clip(steps, limits.min, limits.max).astype(detail["dtype"])


def _dequantized(values: np.ndarray, detail: dict) -> np.ndarray:
    scale, zero_point = detail["quantization"]
    if not scale or values.dtype.kind == "f":
        return values
    return (values.astype(np.float32) - zero_point) * np.float32(scale)


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
    # Other signatures have graphs of their own, whose tensors carry the same numbers.
    for signature in list(interpreter.get_signature_list())[:1]:
        runner = interpreter.get_signature_runner(signature)
        signed = getattr(runner, f"get_{which}_details")()
        by_index = {d["index"]: name for name, d in signed.items()}
        if by_index.keys() == names.keys():
            names = by_index
            break
    return {names[d["index"]]: d for d in details}
