"""TensorBoard's logs of a search."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autokit._backend import tf
from autokit.tuning.dimensions import Categorical, Int
from autokit.tuning.space import Entry, Space
from autokit.tuning.trial import FAILED, Trial


class TensorBoardLogs:
    """Write a run for every trial, which TensorBoard shows beside its parameters (HParams).

    A run, ``trial_0000``, has the mean score so far at every step that pruning looked at (an
    epoch of a fold), the mean of every metric if the trial is complete, and the parameters. It is
    written when the trial is over; an older run of the same number is replaced.

    Parameters
    ----------
    folder : str or path-like
        One for each search. ``tensorboard --logdir FOLDER`` shows it.
    space : Space
    metrics : sequence of str
    """

    def __init__(self, folder: Any, space: Space, metrics: Sequence[str]):
        from tensorboard.plugins.hparams import api

        self.folder, self.metrics = Path(folder), tuple(metrics)
        with _run(self.folder):
            api.hparams_config(
                [api.HParam(entry.name, _domain(api, entry)) for entry in space],
                [api.Metric(name) for name in self.metrics],
            )

    def trial_started(self, number: int, values: dict[str, Any]) -> None:
        """A trial begins."""

    def trial_finished(self, trial: Trial) -> None:
        """Write the run of a trial."""
        from tensorboard.plugins.hparams import api, api_pb2, summary

        name = f"trial_{trial.number:04d}"
        values = {key: _shown(value) for key, value in trial.values.items()}
        with _run(self.folder / name):
            api.hparams(values, trial_id=name, start_time_secs=time.time() - trial.seconds)
            for step, score in trial.steps:
                tf.summary.scalar("score so far", score, step=step)
            for metric in self.metrics:
                mean = trial.mean(metric)
                if mean is not None:
                    tf.summary.scalar(metric, mean, step=0)
            is_failed = trial.status == FAILED
            status = api_pb2.STATUS_FAILURE if is_failed else api_pb2.STATUS_SUCCESS
            end = summary.session_end_pb(status)
            tf.summary.experimental.write_raw_pb(end.SerializeToString(), step=0)


def _run(folder: Path):
    """A writer, in whose block everything belongs to the run."""
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    return _Writer(folder)


class _Writer:
    def __init__(self, folder: Path):
        self._writer = tf.summary.create_file_writer(str(folder))

    def __enter__(self):
        self._default = self._writer.as_default()
        self._default.__enter__()

    def __exit__(self, *failure):
        self._default.__exit__(*failure)
        self._writer.close()


def _shown(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)


def _domain(api, entry: Entry) -> Any:
    dimension = entry.dimension
    if isinstance(dimension, Categorical):
        labels = [_shown(label) for label in dimension.labels]
        kinds = {type(label) for label in labels}
        return api.Discrete(labels if len(kinds) == 1 else list(map(str, labels)))
    interval = api.IntInterval if isinstance(dimension, Int) else api.RealInterval
    return interval(dimension.low, dimension.high)
