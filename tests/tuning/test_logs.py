from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_iris
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util import tensor_util

from autokit import KerasClassifier
from autokit.tuning import Categorical, Float, Int, TunerSearchCV

X, y = load_iris(return_X_y=True)


def read(folder):
    """Scalars by tag, and what the HParams plugin has of a run."""
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    scalars = {
        tag: [
            (e.step, float(tensor_util.make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)
        ]
        for tag in events.Tags()["tensors"]
        if not tag.startswith("_hparams_")
    }
    plugin = {
        tag: plugin_data_pb2.HParamsPluginData.FromString(content)
        for tag, content in events.PluginTagToContent("hparams").items()
    }
    return scalars, plugin


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    space = {
        "learning_rate": Float(1e-3, 1e-1, log=True),
        "batch_size": Categorical([16, 64]),
        "epochs": Int(2, 4),
        "class_weight": [None],
    }
    search = TunerSearchCV(
        KerasClassifier(), space, n_trials=7, cv=2, random_state=0, log_dir=folder
    ).fit(X, y)
    return folder, search


def test_every_trial_is_a_run(logged):
    folder, search = logged
    runs = sorted(path.name for path in folder.iterdir() if path.is_dir())
    assert runs == [f"trial_{trial.number:04d}" for trial in search.trials_]


def test_a_run_has_the_scores_by_epoch_and_at_the_end(logged):
    folder, search = logged
    for trial in search.trials_:
        scalars, _ = read(folder / f"trial_{trial.number:04d}")
        steps, scores = zip(*scalars["score so far"], strict=True)
        assert steps == tuple(step for step, _ in trial.steps)
        np.testing.assert_allclose(scores, [score for _, score in trial.steps], rtol=1e-6)
        if trial.status == "complete":
            np.testing.assert_allclose(scalars["score"], [(0, trial.mean("score"))], rtol=1e-6)
        else:
            assert "score" not in scalars


def test_a_run_has_its_parameters_and_its_end(logged):
    folder, search = logged
    for trial in search.trials_:
        _, plugin = read(folder / f"trial_{trial.number:04d}")
        start = plugin["_hparams_/session_start_info"].session_start_info
        assert start.hparams["learning_rate"].number_value == trial.values["learning_rate"]
        assert start.hparams["batch_size"].number_value == trial.values["batch_size"]
        assert start.hparams["class_weight"].string_value == "None"
        assert "_hparams_/session_end_info" in plugin


def test_the_search_has_its_parameters_and_metrics(logged):
    folder, _ = logged
    _, plugin = read(folder)
    experiment = plugin["_hparams_/experiment"].experiment
    assert {info.name for info in experiment.hparam_infos} == {
        "learning_rate", "batch_size", "epochs", "class_weight"
    }  # fmt: skip
    assert [info.name.tag for info in experiment.metric_infos] == ["score"]


def test_a_second_search_replaces_the_runs_of_the_first(tmp_path):
    from autokit.testing.tuning import Bowl

    for seed in (0, 1):
        search = TunerSearchCV(
            Bowl(), {"x": Float(0, 1)}, n_trials=2, cv=2, random_state=seed, log_dir=str(tmp_path)
        ).fit(np.zeros((6, 1)))
    _, plugin = read(tmp_path / "trial_0000")
    start = plugin["_hparams_/session_start_info"].session_start_info
    assert start.hparams["x"].number_value == search.trials_[0].values["x"]
