"""What the few-shot classifier and regressor share: meta-train, adapt, evaluate."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from autokit._backend import keras, tf
from autokit.base import KerasEstimator
from autokit.layers.task_norm import ROWS, normalises, with_statistics
from autokit.meta.encoder import build_encoder
from autokit.meta.episodes import TURNS, Pool, check_counts
from autokit.meta.methods import make
from autokit.meta.parameters import TURNED, FewShotParameters
from autokit.meta.progress import MetaProgress
from autokit.meta.protocols import Layout, Learnt, MetaLearner, Support
from autokit.meta.tracing import loss_of
from autokit.meta.training import Judge, MetaTraining, Rows, Settings, derived
from autokit.persistence.hashing import settings_of, sha256_of
from autokit.persistence.journal import check_writable
from autokit.training import Batch, Forward, seeded

_ENCODER, _HEAD, _ADAPTATION, _HELD = 10, 11, 12, 13
# what may differ when a training goes on
_FREE = ("n_episodes", "outer_learning_rate", "random_state", "storage", "verbose")


class FewShotWarning(UserWarning):
    """A figure does not mean what it seems to, or rows cannot be practised on."""


@dataclass(frozen=True, eq=False)
class EpisodeScores:
    """Scores on many small tasks.

    Attributes
    ----------
    scores : np.ndarray of shape (n_episodes,)
        Accuracy of each task; of a regression the mean squared error.
    n_way, k_shot, n_query : int
    transductive : bool
        Whether batch normalisation used statistics of the queries: such figures are higher, and
        not comparable with others.
    """

    scores: np.ndarray
    n_way: int
    k_shot: int
    n_query: int
    transductive: bool

    @property
    def mean(self) -> float:
        """Over tasks."""
        return float(self.scores.mean())

    @property
    def half_width(self) -> float:
        """Of the interval: 1.96 standard errors of the mean."""
        if len(self.scores) < 2:
            return float("nan")
        return float(1.96 * self.scores.std(ddof=1) / np.sqrt(len(self.scores)))

    @property
    def interval(self) -> tuple[float, float]:
        """The mean's 95 % interval (normal approximation)."""
        return self.mean - self.half_width, self.mean + self.half_width

    def __str__(self) -> str:
        way = f"{self.n_way}-way " if self.n_way > 1 else ""
        kind = ", transductive" if self.transductive else ""
        return (
            f"{self.mean:.4f} ± {self.half_width:.4f} ({way}{self.k_shot}-shot, "
            f"{len(self.scores)} episodes{kind})"
        )

    __repr__ = __str__


class FewShotEstimator(FewShotParameters, KerasEstimator):
    """Meta-trains on many tasks, and adapts to new ones; subclassed for classes and for numbers."""

    _classifies: bool
    _default_inner_rate: float | None = None  # None is the method's own
    n_way: int

    method_: MetaLearner
    n_episodes_: int

    def _standardizes(self) -> bool:
        return isinstance(self.encoder, str)

    def _method(self) -> MetaLearner:
        rate = self.inner_learning_rate
        if rate is None and isinstance(self.method, str) and self.method != "reptile":
            rate = self._default_inner_rate
        method = make(
            self.method,
            inner_steps=self.inner_steps,
            inner_learning_rate=rate,
            adaptation_steps=self.adaptation_steps,
            first_order=self.first_order,
            distance=getattr(self, "distance", None),
        )
        method._validate_params()
        return method

    def _layout(self) -> Layout:
        return Layout(int(self.n_way), int(self.k_shot), int(self.n_query))

    def _meta_train(self, data: Batch, groups: np.ndarray, labels, n_outputs: int) -> Learnt:
        """Train on tasks drawn from groups of rows."""
        method, layout, seed = self._method(), self._layout(), self._seed()
        turns = self._turns()
        if self.storage is not None:
            check_writable(self.storage)
        rows = self._rows(data, groups, labels, layout, turns, seed)
        encoder = build_encoder(
            self.encoder,
            self.encoder_.kind_,
            self.encoder_.encoded_shape_,
            method.strided,
            derived(seed, _ENCODER),
        )
        if self._classifies:
            n_outputs = layout.n_way if method.episodic else rows.pool.n_classes
        with seeded(derived(seed, _HEAD)):
            network = method.network(encoder, n_outputs)
        settings = Settings(
            method=method,
            layout=layout,
            n_episodes=int(self.n_episodes),
            meta_batch_size=int(self.meta_batch_size or method.meta_batch_size),
            outer_learning_rate=float(self.outer_learning_rate or method.outer_learning_rate),
            transductive=bool(self.transductive),
            patience=self._patience,
            seed=seed,
            storage=None if self.storage is None else Path(self.storage),
            identity={} if self.storage is None else self._identity(data, groups, seed),
        )
        with MetaProgress(self.verbose, settings) as progress:
            learnt = MetaTraining(network, rows, settings, progress.epoch).run()
        self.method_, self.n_episodes_ = method, learnt.n_episodes
        self.history_ = learnt.history
        return learnt

    def _turns(self) -> int:
        if self.augment != TURNED:
            return 1
        shape = self.encoder_.encoded_shape_
        if self.encoder_.kind_ != "image" or shape[0] != shape[1]:
            raise ValueError(
                f"The 'augment' parameter is {TURNED!r}, which turns square images, but rows are "
                f"of kind {self.encoder_.kind_!r} and shape {shape}; set augment=None."
            )
        return TURNS

    def _rows(self, data, groups, labels, layout, turns, seed) -> Rows:
        """What is trained on and what is held out."""
        found, counts = np.unique(groups, return_counts=True)
        if self._classifies and (counts == 1).any() and (counts > 1).any():
            found, counts = _without_single(found, counts, labels)
        named = [labels[g] for g in found]
        targets = None if self._classifies else data.y
        if not self._held_share:
            if self._patience is not None:
                raise ValueError(
                    f"The 'early_stopping' parameter is {self.early_stopping!r}, but "
                    f"validation_fraction={self.validation_fraction!r} holds nothing out to tell "
                    "the best epoch by; set validation_fraction=None, or early_stopping=False."
                )
            check_counts(named, counts, layout, "y", turns, self._group_name)
            return Rows(data.x, targets, Pool(groups, found, turns))
        least = 2 if self._classifies else 1
        n_held = max(least, round(len(found) * self._held_share))
        order = np.random.default_rng(derived(seed, _HELD)).permutation(len(found))
        held, trained = np.sort(order[:n_held]), np.sort(order[n_held:])
        held_layout = layout._replace(n_way=min(layout.n_way, n_held))
        where = f"the part of y that is trained on ({n_held} held out)"
        parts = (
            (trained, layout, where, turns),
            (held, held_layout, "the part of y held out", 1),
        )
        for part, size, what, n_turns in parts:
            named_part = [named[i] for i in part]
            check_counts(named_part, counts[part], size, what, n_turns, self._group_name)
        return Rows(
            data.x,
            targets,
            Pool(groups, found[trained], turns),
            Pool(groups, found[held]),
        )

    _group_name = "class"

    def _identity(self, data: Batch, groups: np.ndarray, seed: int) -> dict[str, Any]:
        identity: dict[str, Any] = {}
        # steps on new tasks are not trained, but judged by what is held out
        free = _FREE if self._held_share else (*_FREE, "adaptation_steps")
        for name, value in self.get_params(deep=False).items():
            if name not in free:
                identity |= settings_of(name, value)
        if self.random_state is not None:
            identity["seed"] = seed
        if isinstance(self.encoder, keras.Model) and self.encoder.built:
            weights = {str(i): w for i, w in enumerate(self.encoder.get_weights())}
            identity["encoder.weights"] = sha256_of(weights)
        hashes = {"X": data.x, "y": groups if self._classifies else data.y}
        return identity | {name: sha256_of(part) for name, part in hashes.items()}

    def _learn_support(self, rows: np.ndarray, y: np.ndarray, n_outputs: int) -> None:
        """Adapt to encoded rows, together with what is kept of earlier ones."""
        learnt = self._learnt
        if learnt.method.embeds:
            rows = self._embedded(rows)
        support = Support(rows, y, np.ones(len(rows), np.float32))
        self._meet(learnt.method.kept(support), n_outputs)

    def _meet(self, support: Support, n_outputs: int) -> None:
        learnt = self._learnt
        seed = derived(learnt.n_episodes, _ADAPTATION)
        self._support = support
        self.model_ = learnt.method.adapted(learnt, support, n_outputs, seed)
        self.__dict__.pop("_forward", None)

    def _embedded(self, rows: np.ndarray) -> np.ndarray:
        """Embeddings of encoded rows, by the statistics that `transductive` says."""
        learnt = self._learnt
        if learnt.transductive and normalises(learnt.network):
            return self._by_rows(learnt.network, rows)
        compiled = learnt.compiled
        if "embed" not in compiled:
            compiled["embed"] = Forward(learnt.network)
        return compiled["embed"](rows)

    def _by_rows(self, model: keras.Model, rows: np.ndarray) -> np.ndarray:
        params = [v.value for v in model.trainable_variables]
        buffers = [v.value for v in model.non_trainable_variables]
        network = with_statistics(model, ROWS)
        return network.stateless_call(params, buffers, tf.constant(rows), training=False)[0].numpy()

    def _copy_for_new_task(self):
        """A learner of its own that shares what was meta-learnt."""
        check_is_fitted(self)
        other = copy.copy(self)
        for name in ("_forward", "held_", "compression_report_"):
            other.__dict__.pop(name, None)
        return other

    def _outputs(self, X) -> np.ndarray:
        if not self._answers_together():
            return super()._outputs(X)
        outputs = self._by_rows(self.model_, self._encode(X))
        return super().output_graph(tf.constant(outputs)).numpy() if self._classifies else outputs

    def _answers_together(self) -> bool:
        learnt = getattr(self, "_learnt", None)
        return learnt is not None and learnt.transductive and normalises(self.model_)

    def output_graph(self, outputs):
        if self._answers_together():
            raise ValueError(
                "transductive=True answers rows together, by their common statistics; a file "
                "answers each row alone. Set transductive=False and fit again."
            )
        return super().output_graph(outputs)

    output_graph.__doc__ = KerasEstimator.output_graph.__doc__

    def _episode_scores(
        self, rows, targets, groups, labels, layout: Layout, n_episodes: int, random_state
    ) -> EpisodeScores:
        check_int("n_episodes", n_episodes, 1)
        learnt = self._learnt
        found, counts = np.unique(groups, return_counts=True)
        check_counts([labels[g] for g in found], counts, layout, "y", 1, self._group_name)
        rng = np.random.default_rng(random_state)
        places = Pool(groups).draw(rng, layout, int(n_episodes))
        loss = loss_of(learnt.is_regression)
        key = ("judge", layout)
        if key not in learnt.compiled:
            network, extras = learnt.network, learnt.extras
            if layout.n_way != learnt.layout.n_way:
                network, extras = learnt.method.resized(network, extras, layout.n_way)
            judge = Judge(network, learnt.method, layout, learnt.transductive, loss)
            learnt.compiled[key] = judge, extras
        judge, extras = learnt.compiled[key]
        scale = self.target_.scale_ if learnt.is_regression else 1.0
        scores = judge.scores(rows, targets, places, extras, scale)
        if np.isnan(scores).any():
            warnings.warn(
                f"{int(np.isnan(scores).sum())} of {len(scores)} tasks have no score, because the "
                "steps on their support set diverged: lower 'adaptation_steps' or "
                "'inner_learning_rate'.",
                FewShotWarning,
                stacklevel=3,
            )
        sign = -1.0 if learnt.is_regression else 1.0
        transductive = learnt.transductive and normalises(learnt.network)
        return EpisodeScores(sign * scores, *layout, transductive)

    def _asked_layout(self, n_way, k_shot, n_query) -> Layout:
        given = {"n_way": n_way, "k_shot": k_shot, "n_query": n_query}
        given = {name: value for name, value in given.items() if value is not None}
        for name, value in given.items():
            check_int(name, value, 2 if name == "n_way" else 1)
        return self._layout()._replace(**given)


def _without_single(found: np.ndarray, counts: np.ndarray, labels) -> tuple:
    """Classes that can be both learnt from and asked about."""
    single = found[counts == 1]
    warnings.warn(
        f"{len(single)} of {len(found)} classes, such as {labels[single[0]]!r}, have 1 sample: it "
        "cannot be a support row and a query of one task, so they are left out of the training "
        "tasks and learnt in the end only.",
        FewShotWarning,
        stacklevel=5,
    )
    return found[counts > 1], counts[counts > 1]


def check_int(name: str, value: Any, least: int) -> None:
    """Raise where an argument is no int, or too small."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be an int of at least {least}; got {value!r}.")
