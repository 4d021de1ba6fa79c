"""Few-shot learning: new classes and functions from a handful of rows.

Names are loaded when first used.
"""

from __future__ import annotations

from autokit.names import lazy

_PUBLIC = {
    "ANIL": "methods",
    "ClassDisjointKFold": "selection",
    "EpisodeScores": "lifecycle",
    "FOMAML": "methods",
    "FewShotLearner": "estimator",
    "FewShotRegressor": "regressor",
    "FewShotScorer": "selection",
    "FewShotWarning": "lifecycle",
    "FineTune": "methods",
    "MAML": "methods",
    "METHODS": "methods",
    "Matching": "methods",
    "MetaLearner": "protocols",
    "MetaSGD": "methods",
    "Prototypical": "methods",
    "Reptile": "methods",
}

__all__ = list(_PUBLIC)

__getattr__, __dir__ = lazy(__name__, _PUBLIC)
