"""What the continual classifier and regressor share: one experience after another."""

from __future__ import annotations

import copy
import logging
import warnings
from dataclasses import replace
from typing import Self

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted

from autokit._backend import keras, tf
from autokit.base import KerasEstimator
from autokit.continual.learner import LearningConfig, Learnt, derived, grown, learn
from autokit.continual.memory import Memory
from autokit.continual.network import shapes_of, untrained, with_linear_head, with_units
from autokit.continual.parameters import ContinualParameters
from autokit.continual.protocols import Strategy
from autokit.continual.scores import Scores
from autokit.continual.strategies import make
from autokit.continual.widths import optimizer_shapes
from autokit.preprocessing import check_lengths
from autokit.training import Batch, FitConfig, Forward
from autokit.training.batches import split_places
from autokit.training.building import build_model
from autokit.training.progress import EpochProgress

HELD_OUT_ROWS = 1000  # of one experience, at most
LEAST_TO_HOLD_OUT = 20
_OWN = ("_learnt", "_held_out", "_scores", "_untrained", "_forwards", "_has_warned")
_log = logging.getLogger("autokit.continual")


class ContinualWarning(UserWarning):
    """A strategy cannot do what the scenario asks of it."""


class ContinualEstimator(ContinualParameters, Scores, KerasEstimator):
    """Learns one experience after another; subclassed for classes and for numbers."""

    _classifies: bool

    strategy_: Strategy
    scenario_: str
    tasks_: list

    def fit(self, X, y, task_ids=None) -> Self:
        """Learn a stream of experiences in order, from nothing.

        Parameters
        ----------
        X : array or DataFrame of shape (n_samples, ...)
            As for `autokit.KerasClassifier.fit`. The first experience fixes columns and scaling.
        y : array of shape (n_samples,) or, for regression, (n_samples, n_outputs)
        task_ids : array of shape (n_samples,), default=None
            The task of each row; tasks are learnt in the order in which they first appear. None
            makes all rows one experience.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            An argument or a parameter is not what it must be.
        TrainingDiverged
            The loss stopped being finite; the experiences before that one are kept.
        """
        self._validate_params()
        for name in [n for n in vars(self) if n.endswith("_") or n in _OWN]:
            delattr(self, name)
        if y is not None:
            self._check_stream(y)
        if task_ids is None:
            return self._learn(X, y, None)
        tasks = np.asarray(task_ids)
        if tasks.ndim != 1:
            raise ValueError(
                f"task_ids must be of shape (n_samples,), the task of each row; got {tasks.shape}."
            )
        check_lengths(X, y, tasks)
        _, first = np.unique(tasks, return_index=True)
        for task in tasks[np.sort(first)].tolist():
            rows = np.flatnonzero(tasks == task)
            self._learn(_safe_indexing(X, rows), _safe_indexing(y, rows), task)
        return self

    def _check_stream(self, y) -> None:
        pass

    def _learn(self, X, y, task, classes=None) -> Self:
        """Learn one experience; if it fails, everything is as before."""
        self._validate_params()
        before = dict(vars(self))
        try:
            self._experience(X, y, task, classes)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise
        return self

    def _experience(self, X, y, task, classes) -> None:
        is_first = not hasattr(self, "_learnt")
        if is_first:
            data = self._encode_new(X, y, None, classes)
            self.seed_ = self._seed()
            self.tasks_, self._held_out, self._scores, self._untrained = [], [], [], []
            self.scenario_ = self._first_scenario(task)
        self.strategy_ = strategy = self._chosen_strategy(task)
        self._check_task(task)
        name = len(self.tasks_) if task is None else task
        group = self._group(name)
        if is_first:
            rows, targets = data.x, self._raw_targets(data.y)
        else:
            rows = self.encoder_.encode(X, type(self).__name__)
            targets = self._more_targets(y, classes, group)
            check_lengths(rows, targets)
        number = len(self.tasks_)
        kept, held = self._split(targets, derived(self.seed_, number, 3))
        setup = self._setup()
        labels = self._labels_of(targets, classes)
        learnt = self._with_units(rows, group, labels, setup)
        setup = replace(setup, config=replace(setup.config, loss=learnt.heads.loss()))
        part = {"x": rows[held], "y": targets[held], "group": group}
        zero_shot = self._scored(learnt, part)
        untrained = self._scored(replace(learnt, network=self._fresh(learnt)), part)
        data = Batch(rows[kept], learnt.heads.encode(group, targets[kept]))
        learnt = learn(learnt, data, group, setup, self._constraints())
        self._commit(learnt, name, group)
        self._held_out = [*self._held_out, part]
        self._note_scores(zero_shot, untrained)
        _log.info(
            "experience %d (task %r): %d rows, strategy %s, scenario %s, average score %.4f",
            number, name, len(kept), type(strategy).__name__, self.scenario_, self.average_score_,
        )  # fmt: skip

    def _first_scenario(self, task) -> str:
        if self.scenario != "auto":
            return self.scenario
        return "domain" if task is None else "task"

    def _chosen_strategy(self, task) -> Strategy:
        former = getattr(self, "strategy_", None)
        chosen = self.strategy
        if isinstance(chosen, str) and chosen == "auto":
            chosen = former or self._auto_strategy()
        chosen = make(chosen)
        chosen._validate_params()
        name = type(chosen).__name__
        if former is not None and type(former) is not type(chosen):
            raise ValueError(
                f"The 'strategy' parameter was {type(former).__name__} in the experiences before "
                f"and is {name} now, whose state is another; use fit to start anew."
            )
        if chosen.uses_memory and not chosen.keeps_all and self.memory_size == 0:
            raise ValueError(
                f"The 'memory_size' parameter is 0, but {name} rehearses stored rows; give it "
                "some, or take a strategy without a memory, such as 'ewc'."
            )
        if chosen.classifies_only and not self._classifies:
            raise ValueError(
                f"The 'strategy' parameter {name} works on class probabilities and cannot serve "
                "a regression; take 'replay', 'ewc', 'si', 'mas' or 'agem'."
            )
        return copy.copy(chosen)

    def _auto_strategy(self) -> str:
        return "replay"

    def _check_task(self, task) -> None:
        strategy = self.strategy_
        if task is not None or not (self.scenario_ == "task" or strategy.needs_task):
            return
        if self.scenario_ == "task" and not self.tasks_ and not strategy.needs_task:
            return  # one experience without a name is a stream of one task
        asks = (
            f"The strategy {type(strategy).__name__}" if strategy.needs_task else "Scenario 'task'"
        )
        raise ValueError(
            f"{asks} needs the task of each experience, but task is None; pass it to partial_fit, "
            f"or task_ids to fit. Tasks learnt so far: {self.tasks_}."
        )

    def _group(self, name) -> int:
        """The head of an experience: the next one for a new task, where tasks have heads."""
        if self.scenario_ != "task" and not self.strategy_.task_heads:
            return 0
        names = list(dict.fromkeys(self.tasks_))
        return names.index(name) if name in names else len(names)

    def _setup(self) -> LearningConfig:
        config = FitConfig(
            epochs=int(self.epochs),
            batch_size=int(self.batch_size),
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
        )
        callbacks = [EpochProgress()] if self.verbose else []
        return LearningConfig(self.strategy_, config, int(self.memory_size), self.seed_, callbacks)

    def _split(self, targets, seed) -> tuple[np.ndarray, np.ndarray]:
        """Places of the rows that train and of those held out, which are few at most."""
        n_rows, fraction = len(targets), float(self.validation_fraction)
        everything = np.arange(n_rows)
        if fraction == 0 or n_rows < LEAST_TO_HOLD_OUT:
            return everything, everything[:0]
        fraction = min(fraction, HELD_OUT_ROWS / n_rows)
        labels = targets if self._classifies else None
        kept, held = split_places(n_rows, fraction, seed, labels)
        return np.sort(kept), np.sort(held)

    def _with_units(self, rows, group, labels, setup) -> Learnt:
        """What was learnt before, with a unit for everything that comes."""
        if not hasattr(self, "_learnt"):
            heads, _ = self._no_heads().grown(group, labels)
            network = self._new_network(heads.n_units)
            nothing = Batch(rows[:0], heads.encode(group, self._no_targets()))
            return Learnt(network, heads, {}, Memory.empty(nothing))
        learnt, network = self._learnt, self._network()
        learnt = replace(learnt, network=network)
        if shapes_of(learnt.optimizer_state) != optimizer_shapes(network, setup.config):
            learnt = replace(learnt, optimizer_state=[])  # another optimizer, or a compression
        heads, places = learnt.heads.grown(group, labels)
        is_wider = heads.n_units > learnt.heads.n_units
        if is_wider and len(heads.classes if self._classifies else ()) == 1:
            self._now_class_incremental()
        return grown(learnt, heads, places, group, setup)

    def _now_class_incremental(self) -> None:
        if self.scenario == "auto":
            self.scenario_ = "class"
        strategy = self.strategy_
        if strategy.weak_without_task and not getattr(self, "_has_warned", False):
            self._has_warned = True
            warnings.warn(
                f"{type(strategy).__name__} stays near chance by nature where classes of earlier "
                "experiences must be told from new ones without the task (the class-incremental "
                "scenario); 'replay', 'der++', 'er_ace' and 'icarl' work there.",
                ContinualWarning,
                stacklevel=6,
            )

    def _new_network(self, n_units: int) -> keras.Model:
        encoder = self.encoder_
        network = build_model(
            self.model, encoder.kind_, encoder.encoded_shape_, n_units, "linear", self.seed_
        )
        return with_linear_head(network)

    def _network(self) -> keras.Model:
        """The network to train further."""
        learnt = self._learnt
        if type(self.strategy_).answer is not Strategy.answer or self.model_ is learnt.network:
            return learnt.network
        # a compression has put another network in its place
        shapes = [tuple(v.shape) for v in self.model_.trainable_variables]
        if any(
            len(v) != len(shapes) or [a.shape for a in v] != shapes for v in _lists(learnt.state)
        ):
            name = type(self.strategy_).__name__
            raise ValueError(
                f"A compression changed the network, and what {name} remembers belongs to the "
                "former one; learn all experiences first and compress then, or use 'replay'."
            )
        return self.model_

    def _fresh(self, learnt) -> keras.Model:
        """A network of the present size as it is initialised."""
        strategy = self.strategy_
        is_scored = bool(self._held_out) and self.validation_fraction > 0
        if type(strategy).grow is not Strategy.grow or not is_scored:
            return learnt.network
        return untrained(learnt.network, derived(self.seed_, len(self.tasks_), 4))

    def _commit(self, learnt: Learnt, name, group: int) -> None:
        self.tasks_ = [*self.tasks_, name]
        self._learnt = learnt
        self.model_ = self._answering(learnt, group)
        self._forwards: dict = {}
        history = {k: list(v) for k, v in getattr(self, "history_", {}).items()}
        for key, values in learnt.history.items():
            history.setdefault(key, []).extend(values)
        self.history_ = history

    def _answering(self, learnt: Learnt, group: int) -> keras.Model:
        groups = learnt.heads.groups
        return self.strategy_.answer(learnt.network, learnt.state, groups, group)

    def _outputs_of(self, rows: np.ndarray, group: int) -> np.ndarray:
        """Raw outputs of all units by the model that answers for a head."""
        itself = type(self.strategy_).answer is Strategy.answer
        forwards = self.__dict__.setdefault("_forwards", {})
        key = -1 if itself else group
        if key not in forwards or (itself and forwards[key].model is not self.model_):
            model = self.model_ if itself else self._answering(self._learnt, group)
            forwards[key] = Forward(model)
        return forwards[key](rows)

    def _asked(self, task, n_rows: int) -> np.ndarray | None:
        """The head of each row that is asked for; None where the model must find it."""
        names = list(dict.fromkeys(self.tasks_))
        has_heads = self.scenario_ == "task" or self.strategy_.task_heads
        if task is None:
            if not has_heads or len(names) == 1:
                return np.zeros(n_rows, np.int32)
            if self.strategy_.needs_task or not self.strategy_.task_heads:
                raise ValueError(
                    "Each task has a head of its own, and task is None; pass task=... (one name, "
                    f"or one per row). Known tasks are {names}. For a model that is never told, "
                    "use scenario='class' or 'domain'."
                )
            return None
        asked = np.asarray(task)
        if asked.ndim == 0:
            asked = np.full(n_rows, asked)
        check_lengths(asked, np.zeros(n_rows))
        distinct, place = np.unique(asked, return_inverse=True)
        unknown = [t for t in distinct.tolist() if t not in names]
        if unknown:
            raise ValueError(f"task {unknown[0]!r} was never learnt; known tasks are {names}.")
        heads = [names.index(t) if has_heads else 0 for t in distinct.tolist()]
        return np.array(heads, np.int32)[place]

    def output_graph(self, outputs):
        if len(np.unique(self._learnt.heads.groups)) > 1:
            raise ValueError(
                "Each task has a head of its own, and a file or a compressed network has one; "
                f"choose it with for_task(...). Known tasks are {list(dict.fromkeys(self.tasks_))}."
            )
        return super().output_graph(outputs)

    output_graph.__doc__ = KerasEstimator.output_graph.__doc__

    def _group_of(self, task) -> int:
        check_is_fitted(self)
        return int(self._asked(task, 1)[0])

    def _task_model(self, task) -> tuple[keras.Model, int]:
        """A network of one task's units alone, and its head."""
        group = self._group_of(task)
        model = self._answering(self._learnt, group)
        return with_units(model, np.flatnonzero(self._learnt.heads.groups == group)), group

    @property
    def state_size_bytes_(self) -> int:
        """Bytes kept for the experiences to come, besides the weights of `model_`."""
        check_is_fitted(self)
        learnt = self._learnt
        arrays = [*tf.nest.flatten(learnt.state), *learnt.optimizer_state]
        arrays += [part[name] for part in self._held_out for name in ("x", "y")]
        if learnt.network is not self.model_:
            arrays += [v.value.numpy() for v in learnt.network.variables]
        return learnt.memory.size_bytes + sum(np.asarray(a).nbytes for a in arrays)

    def __getstate__(self):
        state = super().__getstate__()
        state.pop("_forwards", None)
        return state


def _lists(state) -> list:
    """The lists of a state: a value per trainable parameter each."""
    if isinstance(state, dict):
        return [found for value in state.values() for found in _lists(value)]
    return [state] if isinstance(state, list) else []


def dressed(whole, part):
    """The part with what an encoder tells about rows."""
    part.encoder_, part.n_features_in_ = whole.encoder_, whole.n_features_in_
    if hasattr(whole, "feature_names_in_"):
        part.feature_names_in_ = whole.feature_names_in_
    part.history_ = whole.history_
    return part
