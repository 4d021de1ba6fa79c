"""Low-rank adaptation: a frozen network that learns through thin additional factors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from autokit._backend import keras
from autokit.compression.method import checked_estimator
from autokit.layers import copied
from autokit.training import seeded
from autokit.training.state import assign


def add_lora(
    estimator_or_model: Any,
    rank: int = 4,
    layers: str | Sequence[str] | Callable = "auto",
    *,
    alpha: float | None = None,
    freeze_others: bool = True,
    random_state: int = 0,
) -> Any:
    """Return a copy that learns through low-rank factors beside its frozen kernels.

    ``kernel' = kernel + alpha / rank * A B`` by Keras' own ``enable_lora``. B starts at zero:
    predictions are unchanged until ``partial_fit`` (of a plain model, ``fit``) trains A and B.
    What an earlier compression held, zeros of a pruned network say, is held no longer: the sum
    of a sparse kernel and a product is not sparse.

    Parameters
    ----------
    estimator_or_model : estimator or keras.Model
        Fitted; it stays as it is.
    rank : int, default=4
    layers : "auto", list of str or callable, default="auto"
        Names, or a function from a layer to whether it adapts; "auto" is every layer that can
        (dense, einsum-dense, embedding, convolution).
    alpha : float, default=None
        Scale of the product; None is `rank`.
    freeze_others : bool, default=True
        Whether all other layers stop training, normalisation included.
    random_state : int, default=0
        Seeds A.

    Returns
    -------
    estimator or keras.Model
        Of the same class.

    Raises
    ------
    ValueError
        If `rank` is below 1, or `layers` names or chooses no layer that can adapt.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    See Also
    --------
    merge_lora : Adds the products into the kernels.

    References
    ----------
    Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021, section 4.1.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from autokit import KerasClassifier
    >>> from autokit.compression import add_lora, merge_lora
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = KerasClassifier(epochs=5, random_state=0).fit(X, y)
    >>> adapted = add_lora(clf, rank=2).partial_fit(X, y)
    >>> merge_lora(adapted).model_.count_params() == clf.model_.count_params()
    True
    """
    if int(rank) != rank or rank < 1:
        raise ValueError(f"rank must be an int of at least 1, got {rank!r}.")
    model = copied(_model_of(estimator_or_model, "add_lora"))
    chosen = _chosen(model, layers)
    if freeze_others:
        for layer in _leaves(model):
            layer.trainable = layer in chosen
    with seeded(random_state):
        for layer in chosen:
            layer.enable_lora(int(rank), lora_alpha=alpha)
    return _with_model(estimator_or_model, model)


def merge_lora(estimator_or_model: Any) -> Any:
    """Return a copy whose kernels hold what its low-rank factors learnt.

    Predictions stay the same; the factors are gone, and all layers train again.

    Parameters
    ----------
    estimator_or_model : estimator or keras.Model
        With layers that :func:`add_lora` changed.

    Returns
    -------
    estimator or keras.Model
        Of the same class, with the layers and weights it had before LoRA.

    Raises
    ------
    ValueError
        If no layer holds low-rank factors.
    """
    model = _model_of(estimator_or_model, "merge_lora")
    if not any(_is_adapted(layer) for layer in model._flatten_layers()):
        raise ValueError(
            "estimator_or_model: no layer of the model has LoRA enabled; call add_lora first."
        )
    plain = type(model).from_config(_without_lora(model.get_config()))
    if not plain.built:
        plain.build(model.input_shape)
    adapted = [layer for layer in _leaves(model) if _is_adapted(layer)]
    factors = {id(v) for layer in adapted for v in _factors(layer)}
    # the property adds the product to the stored kernel
    merged = {id(getattr(x, f"_{_kernel(x)}")): getattr(x, _kernel(x)) for x in adapted}
    values = [merged.get(id(v), v.value) for v in model.variables if id(v) not in factors]
    assign(plain.variables, values)
    for layer in plain._flatten_layers():
        layer.trainable = True
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    return _with_model(estimator_or_model, plain)


def _chosen(model, layers) -> list:
    able = [layer for layer in _leaves(model) if hasattr(layer, "enable_lora")]
    if isinstance(layers, str) and layers == "auto":
        chosen = able
    elif callable(layers):
        chosen = [layer for layer in able if layers(layer)]
    else:
        names = [layers] if isinstance(layers, str) else list(layers)
        by_name = {layer.name: layer for layer in able}
        unknown = [name for name in names if name not in by_name]
        if unknown:
            raise ValueError(
                f"layers names {unknown[0]!r}, which is no layer that can adapt; those are "
                f"{', '.join(by_name) or 'none'}."
            )
        chosen = [by_name[name] for name in names]
    adapted = [layer.name for layer in chosen if _is_adapted(layer)]
    if adapted:
        raise ValueError(f"layers: {adapted[0]!r} has LoRA enabled already; call merge_lora first.")
    if not chosen:
        raise ValueError(
            "layers chooses no layer that can adapt; dense, einsum-dense, embedding and "
            "convolution layers can."
        )
    return chosen


def _leaves(model) -> list:
    return [x for x in model._flatten_layers(include_self=False) if not list(x._layers)]


def _is_adapted(layer) -> bool:
    return bool(getattr(layer, "lora_enabled", False))


def _kernel(layer) -> str:
    return "embeddings" if isinstance(layer, keras.layers.Embedding) else "kernel"


def _factors(layer) -> list:
    return [v for k, v in vars(layer).items() if k.startswith("lora_") and hasattr(v, "path")]


def _without_lora(config):
    if isinstance(config, dict):
        return {
            key: None if key in ("lora_rank", "lora_alpha") else _without_lora(value)
            for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return type(config)(_without_lora(value) for value in config)
    return config


def _model_of(estimator_or_model, verb):
    if isinstance(estimator_or_model, keras.Model):
        return estimator_or_model
    return checked_estimator(estimator_or_model, verb).model_


def _with_model(estimator_or_model, model):
    if isinstance(estimator_or_model, keras.Model):
        return model
    changed = copy.copy(estimator_or_model)
    for name in ("_forward", "_optimizer_state", "held_", "compression_report_"):
        changed.__dict__.pop(name, None)
    changed.model_ = model
    return changed
