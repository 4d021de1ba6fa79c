"""keras-tuner's oracles behind the seam of the tuners.

The search asks an Optuna sampler; this one asks the oracle, ``create_trial`` before and
``end_trial`` after a trial, so that what is proposed is keras-tuner's own.
"""

from __future__ import annotations

import copy
import math
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from autokit.tuning.hyperband import EPOCHS
from autokit.tuning.hyperparameters import oracle_name, plain_value, to_hyperparameters
from autokit.tuning.oracle_file import OracleFile
from autokit.tuning.samplers import GIVEN_UP, Exhausted, SamplerMaker, Task, Wait
from autokit.tuning.space import Space, distribution

OBJECTIVE = "score"
_ID, _EPOCHS = "oracle:trial", "tuner/epochs"
_NO_LIMIT = -1  # of failed trials, which are the search's business


def named_oracle(name: str, task: Task) -> Any:
    """keras-tuner's oracle of a name.

    Parameters
    ----------
    name : {"random", "bayesian", "hyperband", "grid"}
    task : Task
    """
    from keras_tuner import oracles

    settings = {
        "objective": _objective(),
        "seed": task.seed or 2**31 - 1,  # keras-tuner draws one at random for 0
        "hyperparameters": to_hyperparameters(
            _proposed(task.space), by_architecture=name == "grid"
        ),
        "max_consecutive_failed_trials": _NO_LIMIT,
    }
    if name == "hyperband":
        return oracles.HyperbandOracle(
            max_epochs=task.max_epochs,
            # one sweep, or as many as there are trials for
            hyperband_iterations=1 if task.n_trials >= 10**6 else None,
            **settings,
        )
    kinds = {
        "random": oracles.RandomSearchOracle,
        "bayesian": oracles.BayesianOptimizationOracle,
        "grid": oracles.GridSearchOracle,
    }
    return kinds[name](max_trials=None, **settings)


def oracle_of(tuner: Any, task: Task) -> Any:
    """The oracle of a name, or a copy of one of the user's, ready to be asked.

    Parameters
    ----------
    tuner : str or keras_tuner.Oracle
    task : Task

    Raises
    ------
    TypeError, ValueError
        As `oracle_sampler`.
    """
    import keras_tuner

    oracle = named_oracle(tuner, task) if isinstance(tuner, str) else tuner
    if not isinstance(oracle, keras_tuner.Oracle):
        raise TypeError(
            "The 'tuner' parameter must be a name, an optuna sampler or a keras-tuner oracle; got "
            f"a {type(oracle).__name__}."
        )
    if task.n_objectives > 1:
        raise ValueError(
            "keras-tuner's oracles search for one score; choose tuner='nsga2' for several, or "
            "name one scorer in 'refit'."
        )
    oracle = copy.deepcopy(oracle)
    oracle.objective, oracle.verbose = _objective(), 0
    oracle.max_consecutive_failed_trials = _NO_LIMIT
    oracle.max_retries_per_trial = 0
    oracle.save = oracle._save_trial = lambda *_: None  # it would make a project folder
    oracle.update_space(to_hyperparameters(_proposed(task.space)))
    return oracle


def oracle_sampler(oracle: Any, task: Task) -> SamplerMaker:
    """What gives each trial the same sampler, which asks an oracle.

    Parameters
    ----------
    oracle : keras_tuner.Oracle
        Stays as it is: the search goes on from a copy. Its own hyperparameters are kept and those
        of the space are added; its objective becomes the score of the search.
    task : Task

    Raises
    ------
    TypeError
        No oracle.
    ValueError
        An oracle with several objectives, or a storage that oracles cannot share.
    """
    oracle = oracle_of(oracle, task)
    state = None
    if task.storage is not None:
        if isinstance(task.storage, str) and "://" in task.storage:
            raise ValueError(
                f"The 'storage' parameter {task.storage!r} is a URL, which keras-tuner's oracles "
                "cannot share; give the path of a file, or, on several machines, use keras-tuner's "
                "chief and workers (KERASTUNER_ORACLE_IP) or one of Optuna's tuners."
            )
        state = OracleFile(task.storage, [type(oracle).__name__, task.space.describe()])
    sampler = sampler_of(LocalOracle(oracle, state), task.space)
    return lambda number: sampler


class LocalOracle:
    """An oracle of this process, or one that the processes of a storage share.

    Parameters
    ----------
    oracle : keras_tuner.Oracle
    state : OracleFile or None
    """

    def __init__(self, oracle: Any, state: OracleFile | None = None):
        self.oracle, self.state = oracle, state
        self._gone: set[str] = set()
        self._name, self._n_asked = uuid.uuid4().hex, 0

    def ask(self, finished: list) -> tuple[str, dict[str, Any]]:
        """The next trial's number in the oracle, and its values by keras-tuner's names.

        Parameters
        ----------
        finished : list of optuna.trial.FrozenTrial
            All that have ended; those that are news are told to the oracle first.

        Raises
        ------
        Exhausted, Wait
        """
        if self.state is None:
            self._hear(finished)
            return self._create()
        with self.state.held(self.oracle, bool(finished)):
            self._hear(finished)
            self._take_back(set(self.state.dead()))
            trial_id, values = self._create()
            self.state.own(trial_id)
            self.state.write(self.oracle)
        return trial_id, values

    def give_up(self, trial_id: str) -> None:
        """Let a trial without a result be proposed again."""
        if self.state is None:
            self._requeue(trial_id)
            return
        with self.state.held(self.oracle, True):
            self._requeue(trial_id)
            self.state.write(self.oracle)

    def _create(self) -> tuple[str, dict[str, Any]]:
        self._n_asked += 1
        with quiet(self.oracle):
            trial = self.oracle.create_trial(f"{self._name}-{self._n_asked}")
        return asked(trial)

    def _hear(self, finished: list) -> None:
        for frozen in finished:
            trial = self.oracle.trials.get(oracle_id(frozen))
            if trial is None or trial.status != "RUNNING" or GIVEN_UP in frozen.user_attrs:
                continue
            score = score_of(frozen)
            trial.status = "FAILED" if score is None else "COMPLETED"
            with quiet(self.oracle):
                if score is not None:
                    self.oracle.update_trial(trial.trial_id, {OBJECTIVE: score})
                self.oracle.end_trial(trial)

    def _take_back(self, dead: set[str]) -> None:
        """Let trials of processes that are gone be proposed again."""
        dead = {i for i in dead if self.oracle.trials[i].status == "RUNNING"}
        queued = set(self.oracle._retry_queue)
        if dead - queued - self._gone:
            # it may have finished just before its process ended: the storage is read once more
            self._gone |= dead
            raise Wait
        for trial_id in sorted(dead - queued, reverse=True):
            self._requeue(trial_id)

    def _requeue(self, trial_id: str) -> None:
        ongoing = self.oracle.ongoing_trials
        self.oracle.ongoing_trials = {n: t for n, t in ongoing.items() if t.trial_id != trial_id}
        self.oracle._retry_queue.append(trial_id)


def asked(trial: Any) -> tuple[str, dict[str, Any]]:
    """What a keras-tuner trial proposes, if it does."""
    if trial.status == "STOPPED":
        raise Exhausted
    if trial.status == "IDLE":
        raise Wait
    return trial.trial_id, dict(trial.hyperparameters.values)


def oracle_id(frozen: Any) -> str | None:
    """The number that an Optuna trial has in the oracle."""
    return frozen.system_attrs.get(_ID)


def score_of(frozen: Any) -> float | None:
    """What an oracle is told of a trial: its score, or the last that pruning saw of it."""
    if frozen.state.name == "COMPLETE":
        score = frozen.values[0]
    elif frozen.state.name == "PRUNED" and frozen.intermediate_values:
        score = frozen.intermediate_values[frozen.last_step]
    else:
        return None
    return score if math.isfinite(score) else None


def sampler_of(source: Any, space: Space) -> Any:
    """An Optuna sampler that asks `source`, a `LocalOracle` or what acts like one."""
    from optuna.samplers import BaseSampler

    class OracleSampler(BaseSampler):
        def __init__(self):
            self._values: dict[int, dict[str, Any]] = {}

        def before_trial(self, study, trial) -> None:
            storage = study._storage
            trials = storage.get_all_trials(study._study_id, deepcopy=False)
            trial_id, values = source.ask([t for t in trials if t.state.is_finished()])
            storage.set_trial_system_attr(trial._trial_id, _ID, trial_id)
            self._values[trial.number] = plain_values_of(space, values)

        def infer_relative_search_space(self, study, trial) -> dict:
            values = self._values.get(trial.number, {})
            return {e.name: distribution(e.dimension) for e in space if e.name in values}

        def sample_relative(self, study, trial, search_space) -> dict:
            return self._values.get(trial.number, {})

        def sample_independent(self, study, trial, param_name, param_distribution) -> Any:
            return self._values[trial.number][param_name]

        def after_trial(self, study, trial, state, values) -> None:
            self._values.pop(trial.number, None)
            trial = study._storage.get_trial(trial._trial_id)
            if GIVEN_UP in trial.user_attrs and oracle_id(trial) is not None:
                source.give_up(oracle_id(trial))

    return OracleSampler()


def plain_values_of(space: Space, proposed: dict[str, Any]) -> dict[str, Any]:
    """The values of the entries that exist beside one another."""
    values: dict[str, Any] = {}
    for entry in space:
        if not entry.is_active(values):
            continue
        if entry.name == EPOCHS and _EPOCHS in proposed:
            values[entry.name] = int(proposed[_EPOCHS])
        elif oracle_name(entry) in proposed:
            values[entry.name] = plain_value(entry, proposed[oracle_name(entry)])
        else:  # an oracle that does not tune what is new to it
            default = next(iter(to_hyperparameters(Space((entry,))).space)).default
            values[entry.name] = plain_value(entry, default)
    return values


@contextmanager
def quiet(oracle: Any) -> Iterator[None]:
    """Call an oracle without its warnings, and without its lock left behind by an error."""
    from keras_tuner.src.engine import oracle as module
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # of Python, about a call inside keras-tuner; of its Gaussian process, about its kernel
        for message in ("currentThread", "getName"):
            warnings.filterwarnings("ignore", message, DeprecationWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            yield
        finally:
            # they would keep the oracle for ever
            module.LOCKS.pop(oracle, None)
            module.THREADS.pop(oracle, None)


def _proposed(space: Space) -> Space:
    """The entries that an oracle knows as hyperparameters: Hyperband's epochs are none."""
    return Space(tuple(entry for entry in space if entry.name != EPOCHS))


def _objective() -> Any:
    from keras_tuner import Objective

    return Objective(OBJECTIVE, "max")
