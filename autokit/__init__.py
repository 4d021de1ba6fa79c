"""Automated deep learning as scikit-learn estimators around Keras 3 models.

Every public name is loaded when it is first used, so that `import autokit` stays instant and
loads neither TensorFlow, Keras nor scikit-learn.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_PUBLIC = {
    "ContinualModel": "continual",
    "ContinualRegressor": "continual",
    "ExportError": "deploy",
    "ExportReport": "deploy",
    "FederatedRegressor": "federated",
    "FederatedTrainer": "federated",
    "FewShotLearner": "meta",
    "FewShotRegressor": "meta",
    "KerasClassifier": "estimators",
    "KerasRegressor": "estimators",
    "NASClassifier": "nas",
    "NASRegressor": "nas",
    "TFLiteModel": "deploy",
    "TunerSearchCV": "tuning",
    "add_lora": "compression",
    "cluster": "compression",
    "compare_exports": "deploy",
    "compress": "compression",
    "distill": "compression",
    "export_keras": "deploy",
    "export_onnx": "deploy",
    "export_saved_model": "deploy",
    "export_tflite": "deploy",
    "factorize": "compression",
    "load": "persistence",
    "merge_lora": "compression",
    "prune": "compression",
    "prune_blocks": "compression",
    "prune_optimal_brain_damage": "compression",
    "quantize_aware": "compression",
    "save": "persistence",
}
_SUBPACKAGES = (
    "compression",
    "continual",
    "deploy",
    "federated",
    "layers",
    "meta",
    "nas",
    "preprocessing",
    "privacy",
    "report",
    "training",
    "tuning",
)

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str):
    if name in _PUBLIC:
        value = getattr(importlib.import_module(f"autokit.{_PUBLIC[name]}"), name)
        globals()[name] = value
        return value
    if name in _SUBPACKAGES:
        return importlib.import_module(f"autokit.{name}")
    raise AttributeError(
        f"module 'autokit' has no attribute {name!r}; its public names are {', '.join(_PUBLIC)}"
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC, *_SUBPACKAGES})
