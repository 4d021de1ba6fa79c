"""Files that learn new classes from a few rows, on the phone, without training.

The file of an estimator that compares embeddings with prototypes can hold these graphs too::

    embed       rows              -> embedding
    classify    rows, prototypes  -> output, of shape (n_rows, n_classes)
    prototypes  scale             -> prototypes   (as shipped)

A prototype is the mean of the embeddings of a few rows of one class; new classes are learnt so::

    prototypes[k] = mean(embed(rows of class k))          # any number of classes
    probabilities = classify(rows, prototypes)

which is what the estimator's ``adapt`` computes. The comparison is float32 in every quantisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autokit._backend import keras
from autokit.deploy.convert import Tensors
from autokit.deploy.proof import ExportError
from autokit.deploy.subject import EMBEDDING, OUTPUT

CLASSIFY, PROTOTYPES, SCALE = "classify", "prototypes", "scale"


@dataclass(frozen=True)
class Comparison:
    """How an estimator compares embeddings with prototypes.

    Attributes
    ----------
    estimator : estimator
        Has ``prototypes_`` of shape (n_classes, n_features), and ``by_prototypes()`` with the
        methods ``similarities(embedding, prototypes)``, logits in TensorFlow operations, and
        ``embedder(model)``, what of its model gives embeddings.
    """

    estimator: Any

    @property
    def shipped(self) -> np.ndarray:
        """Prototypes of the classes that the estimator knows."""
        return np.asarray(self.estimator.prototypes_, np.float32)

    def embedder(self, model: keras.Model) -> keras.Model:
        """What of a model, or of a copy of it, gives embeddings."""
        return self.estimator.by_prototypes().embedder(model)

    def classify(self, t: Tensors) -> Tensors:
        """From embedding and prototypes to probabilities."""
        logits = self.estimator.by_prototypes().similarities(t[EMBEDDING], t[PROTOTYPES])
        return {OUTPUT: self.estimator.output_graph(logits)}

    def give(self, t: Tensors) -> Tensors:
        """Prototypes times ``scale``: 1 for those of the file."""
        return {PROTOTYPES: self.shipped * t[SCALE]}


def comparison_of(estimator: Any) -> Comparison | None:
    """Return how an estimator compares embeddings with prototypes; None if it does not."""
    by_prototypes = getattr(estimator, "by_prototypes", None)
    return None if by_prototypes is None or by_prototypes() is None else Comparison(estimator)


def check_compares(estimator: Any) -> None:
    """Check that a file of this estimator can have the signature ``classify``.

    Raises
    ------
    ExportError
        If it cannot.
    """
    if comparison_of(estimator) is not None:
        return
    method = getattr(estimator, "method_", None)
    name = "plain model" if estimator is None else type(estimator).__name__
    with_method = "" if method is None else f" with the method {type(method).__name__}"
    raise ExportError(
        f"signatures: 'classify' compares rows with prototypes, which a {name}{with_method} does "
        "not have; a FewShotLearner with method='prototypical' or FineTune(head='centroid') has. "
        "Leave it out, or export one of those."
    )
