"""A fitted estimator or a Keras model as a .tflite file that has been run and compared."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autokit.deploy import flatbuffer, isolation, metadata, proof
from autokit.deploy import signatures as _signatures
from autokit.deploy.blame import blamed
from autokit.deploy.files import checked_path, written
from autokit.deploy.latency import Spread, measure
from autokit.deploy.network import is_half_precision, one_line
from autokit.deploy.proof import ExportError
from autokit.deploy.routes import Options, graph_of
from autokit.deploy.rows import Rows, gather
from autokit.deploy.runtime import TFLiteModel
from autokit.deploy.score import Score, score_of
from autokit.deploy.subject import Subject, subject_of

_LATENCY_RUNS, _LATENCY_S = 200, 0.5


@dataclass(frozen=True)
class ExportReport:
    """What :func:`export_tflite` made, and how it was found to answer.

    Attributes
    ----------
    path : Path
        The file.
    quantization : str or None
        As asked for.
    size_bytes : int
        Size of the file, metadata included.
    max_abs_error : float
        Largest difference from Keras' outputs: probabilities, or units of the target.
    agreement : float or None
        Share of rows with the same most probable class; None if the outputs are no
        probabilities.
    latency_ms : Spread
        Median, 10th and 90th percentile of one row on one thread of this machine.
    ops : dict of str to int
        Operators of the file and how often each occurs.
    n_rows : int
        Rows that were compared.
    rows_from : str
        Where they came from: "representative_data", "training" (rows that the estimator keeps)
        or "synthetic" (drawn about the encoder's means).
    score : Score or None
        Of the file on `representative_target`, if there was one.
    """

    path: Path
    quantization: str | None
    size_bytes: int
    max_abs_error: float
    agreement: float | None
    latency_ms: Spread
    ops: dict[str, int]
    n_rows: int
    rows_from: str
    score: Score | None = None


def export_tflite(
    estimator_or_model: Any,
    path: str | Path,
    *,
    quantization: str | None = None,
    representative_data: Any = None,
    representative_target: Any = None,
    signatures: Sequence[str] = (_signatures.SERVE,),
    integer_io: bool = False,
    overwrite: bool = False,
    tolerance: float | None = None,
    timeout_s: float = isolation.TIMEOUT_S,
) -> ExportReport:
    """Write a .tflite file, after running it in LiteRT and comparing it with Keras.

    Raw rows go in: scaling, category codes and missing values are handled inside the file, and
    probabilities or values in the target's units come out, as float32 unless `integer_io`.
    The file needs LiteRT's built-in operators only, has the signature ``serve`` (inputs
    ``rows``, or ``numeric`` and ``categorical``; output ``output``), and carries labels,
    columns, their normalisation, shapes and a hash, see :mod:`autokit.deploy.metadata`.

    Parameters
    ----------
    estimator_or_model : estimator or keras.Model
        A fitted estimator of this package, or a built Keras model.
    path : str or Path
        The file to write.
    quantization : {None, "dynamic", "float16", "int8", "int4", "int16x8"}, default=None
        None keeps float32. "dynamic" stores large weights as int8 and computes in float or
        mixed precision. "float16" stores weights in half precision. "int8" computes the network
        in integers alone. "int4" is "dynamic" with weights of 4 bits in dense and convolution
        layers. "int16x8" has activations of 16 bits and weights of 8: nearly as exact as
        float32, not offered by attention and layer normalisation, and slower on most devices.
        The encoder and the mapping of outputs stay float32 in all of them: columns of range 1
        and 1e5 do not share one scale of 256 steps.
    representative_data : array-like or DataFrame, default=None
        Rows as ``fit`` takes them (for a plain model its input, or a list or dict of inputs).
        For "int8" and "int16x8" they tell the ranges of values: 100 to 500 training rows are
        enough, 32 the least. The file is proved on up to 256 of them.
    representative_target : array-like, default=None
        Targets of `representative_data`, as ``fit`` takes them (class indices for a plain model
        that gives probabilities). The file is scored on all of these rows, and keeps the score:
        pass held-out ones.
    signatures : sequence of str, default=("serve",)
        What the file can do: "serve", "embed", "train_head", "infer", "classify". "embed" gives
        what the last layer sees, "train_head" trains that layer, "infer" answers with the trained
        one, see :mod:`autokit.deploy.signatures`. "classify" answers for new classes, each the
        mean of a few embeddings, see :mod:`autokit.deploy.prototypes`; only of a
        :class:`~autokit.FewShotLearner` that has prototypes. With more than "serve", the last
        layer is float32 in every quantisation.
    integer_io : bool, default=False
        Whether the file takes and gives int8, for chips without floating point; only with
        "int8". Encoder and output mapping become integer too, each input has one scale:
        columns of different ranges are refused by the proof, and texts have no scale.
        :class:`~autokit.deploy.TFLiteModel` takes and gives numbers as before.
    overwrite : bool, default=False
        Whether an existing file is replaced.
    tolerance : float, default=None
        Largest difference from Keras, of probabilities in absolute terms and of other outputs
        as a share of their range. By default 1e-4 (float32), 0.01 (float16), 0.1 for 95 % of
        rows (dynamic, int8), 0.05 for 95 % (int16x8) and 0.25 for 90 % (int4); the same share
        of rows ("float16" 99 %) must get the same class, rows that Keras itself holds undecided
        within the tolerance aside.
    timeout_s : float, default=600
        Seconds after which a conversion is given up. It runs in a process of its own: a crash
        or an endless loop of the converter is an error here.

    Returns
    -------
    ExportReport
        Size, error, agreement, latency, operators.

    Raises
    ------
    ExportError
        If the model cannot be converted, or not in time, `representative_data` does not fit or is
        too small, or the file disagrees with Keras; no file is left behind.
    ValueError
        If `quantization` or a signature is unknown, `integer_io` comes without "int8",
        `representative_target` does not fit, or `timeout_s` is not above 0.
    FileExistsError
        If the file exists and `overwrite` is False.
    OSError
        If the file cannot be written.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Notes
    -----
    Where the bytes of an int8 file go: one a weight (against four), 12 an output channel (the
    scale of its weights, the scale of its bias and the bias, 4 each), some 120 an operator with
    its tensors, and 1 to 2 kB of metadata. Tensor names, the ranges seen in calibration and
    repeated vectors are taken out. For digits, a residual network of 78,000 weights comes to
    0.28 of its float file, a plain one of 24,000 to 0.31, separable convolutions of 37,000 to
    0.35; inverted bottlenecks, which have many channels for their weights, to 0.36 (56,000) or
    0.40 (33,000).

    The int8 file of an estimator from `autokit.compression.quantize_aware` has the ranges of
    activations that were trained; with `integer_io` they are found anew. Its other files have
    the trained weights, and compute without rounding activations.

    Recurrent layers run one row at a time in float files (their loop needs a fixed batch), and
    are unrolled over time for "int8" and "int16x8", where a loop would crash the converter.

    Examples
    --------
    >>> from autokit import KerasClassifier, export_tflite
    >>> classifier = KerasClassifier().fit(X, y)  # doctest: +SKIP
    >>> report = export_tflite(classifier, "model.tflite", quantization="int8",
    ...                        representative_data=X)  # doctest: +SKIP
    >>> report.agreement  # doctest: +SKIP
    0.998
    """
    options = Options(quantization, timeout_s, integer_io)
    signatures = _signatures.checked(signatures)
    path = checked_path(path, overwrite)
    isolation.prepare()
    # Integers from end to end need ranges also for the encoder, which nobody has trained.
    rounds = quantization == "int8" and not integer_io
    subject = subject_of(estimator_or_model, rounds=rounds)
    rows = gather(subject, representative_data, quantization)
    proof_rows = rows.for_proof()
    expected = proof_rows.expected(subject)
    proof.check_model(expected)
    description, head = subject.description(quantization), None
    if len(signatures) == 1:
        graph = graph_of(subject, rows, options)
    else:
        graph, head = _signatures.graph_of(subject, rows, options, signatures)
        description["head"] = head.describe()
    ops = _checked_operators(graph)
    data, score = metadata.attach(graph, description), None
    with written(path, data) as unproved:
        try:
            compared, latency_ms = _proved(
                unproved, subject, proof_rows, expected, quantization, tolerance
            )
        except proof.Disagreement as error:
            raise blamed(error, subject, rows, options) from error
        if head is not None:
            _signatures.prove(TFLiteModel(unproved), rows.tensors, head)
        if representative_target is not None:
            score = _scored(unproved, subject, representative_data, representative_target)
            data = metadata.attach(graph, {**description, "score": score._asdict()})
            with written(unproved, data):
                pass
    return ExportReport(
        path=path,
        quantization=quantization,
        size_bytes=len(data),
        max_abs_error=compared.max_abs_error,
        agreement=compared.agreement,
        latency_ms=latency_ms,
        ops=ops,
        n_rows=len(proof_rows),
        rows_from=rows.source,
        score=score,
    )


def _proved(
    path: Path,
    subject: Subject,
    rows: Rows,
    expected: dict[str, np.ndarray],
    quantization: str | None,
    tolerance: float | None,
) -> tuple[proof.Comparison, Spread]:
    """Run the file on rows, compare it with Keras, and time it."""
    try:
        file = TFLiteModel(path)
        tensors = rows.tensors if rows.user is None else file.tensors(rows.user)
        got = file.run(tensors)
    except (RuntimeError, ValueError) as error:
        raise ExportError(
            f"estimator_or_model: LiteRT cannot run the converted file: {one_line(error)}; no file "
            "was written. Replace the layer at fault, or choose another quantization."
        ) from error
    # Keras itself rounds to half precision there: the file cannot be nearer to it than that.
    is_half = quantization is None and is_half_precision(subject.model)
    compared = proof.compare(
        expected,
        got,
        quantization="float16" if is_half else quantization,
        tolerance=tolerance,
        is_probability=None if subject.estimator is None else subject.is_classifier,
    )
    singles = _singles(tensors)
    start = time.perf_counter()
    file.run(singles[0])
    once = time.perf_counter() - start
    n_runs = int(np.clip(_LATENCY_S / max(once, 1e-9), 5, _LATENCY_RUNS))
    return compared, measure(file, singles, n_runs)


def _scored(path: Path, subject: Subject, X: Any, y: Any) -> Score:
    if X is None or len(subject.output_names) > 1:
        raise ValueError(
            "representative_target needs representative_data, its rows, and a model of one output; "
            "pass both, or neither."
        )
    file = TFLiteModel(path)
    (outputs,) = file.run(file.tensors(X)).values()
    return score_of(subject, outputs, y, "representative_target")


def _singles(tensors: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    n_rows = len(next(iter(tensors.values())))
    return [{k: v[i : i + 1] for k, v in tensors.items()} for i in range(n_rows)]


def _checked_operators(graph: bytes) -> dict[str, int]:
    ops = flatbuffer.count_operators(graph)
    flex = [name for name in ops if name.startswith("Flex")]
    if flex:
        raise ExportError(
            f"estimator_or_model: the model needs TensorFlow's {', '.join(flex)}, which LiteRT has "
            "not built in; replace the layer that computes it."
        )
    return ops
