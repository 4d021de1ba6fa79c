"""Private rounds: clipping, noise, sampling, what is spent, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest

import autokit
from autokit._backend import keras, tf
from autokit.federated import (
    FedAvg,
    FederatedTrainer,
    FedProx,
    FedSGD,
    QuantizedUpdates,
    Scaffold,
)
from autokit.federated.engines.collector import Collector
from autokit.federated.private import private_rounds
from autokit.federated.schedule import drawn, lots
from autokit.privacy import (
    DifferentialPrivacy,
    PrivacyBudgetSpent,
    PrivacyWarning,
    epsilon_spent,
)
from autokit.testing.federations import (
    blobs,
    counted_traces,
    dense_network,
    federation,
    normalized_network,
    recurrent_network,
    run,
    start,
)
from autokit.training import TensorBatch, task_objective, value_and_gradient

CLIP = 0.3
CLIENTS = DifferentialPrivacy(20.0, 1e-2, clip_norm=CLIP, accountant="rdp")
ROWS = DifferentialPrivacy(20.0, 1e-3, level="example", clip_norm=0.5, accountant="rdp")


def made_private(given, privacy=CLIENTS, *, n_rounds=3, per_round=None, **changes):
    """A federation with private rounds, some of whose settings are changed."""
    private = private_rounds(given, privacy, per_round, n_rounds, secret=False)
    return replace(private, privacy=replace(private.privacy, **changes))


def test_without_noise_the_mean_of_clipped_updates():
    private = made_private(federation(), noise_multiplier=0.0)
    given = replace(private, privacy=None)
    each = [
        run(given, n_rounds=1, chosen=[k]).weights - start(given).weights
        for k in range(len(given.clients))
    ]
    norms = [np.linalg.norm(delta) for delta in each]
    assert min(norms) < CLIP < max(norms)  # both sides are tested
    clipped = [delta * min(1, CLIP / norm) for delta, norm in zip(each, norms, strict=True)]
    got = run(private, n_rounds=1).weights - start(given).weights
    np.testing.assert_allclose(got, np.sum(clipped, axis=0) / 3, atol=1e-6)


def test_who_takes_part_does_not_change_what_is_divided_by():
    private = made_private(federation(), noise_multiplier=0.0)
    one = run(private, n_rounds=1, chosen=[0]).weights
    alone = run(replace(private, privacy=None), n_rounds=1, chosen=[0]).weights
    before = start(private).weights
    ratio = np.linalg.norm(one - before) / min(CLIP, np.linalg.norm(alone - before))
    assert ratio == pytest.approx(1 / 3, rel=1e-4)


def test_the_server_clips_what_a_client_did_not(monkeypatch):
    """A client may send anything, packed or not: its share of the mean has a bound."""
    private = made_private(federation(), noise_multiplier=0.0)
    state = start(private)
    for packed in (None, QuantizedUpdates(bits=2, error_feedback=False)):
        given = replace(private, communication=packed)
        monkeypatch.setattr(Collector, "collect", _shouting(Collector.collect))
        moved = run(given, n_rounds=1, chosen=[1]).weights - state.weights
        monkeypatch.undo()
        assert np.linalg.norm(moved) == pytest.approx(CLIP / 3, rel=1e-4)


def _shouting(collect):
    def loud(*args, **kwargs):
        updates = collect(*args, **kwargs)
        updates.deltas *= 1e4
        return updates

    return loud


def test_clients_cannot_tell_the_noise_from_their_seed():
    private = made_private(federation())
    assert private.local_seed != private.seed
    assert private.local_seed == made_private(federation()).local_seed
    secret = [private_rounds(federation(), CLIENTS, None, 3, secret=True) for _ in range(2)]
    assert len({s.seed for s in secret} | {s.local_seed for s in secret}) == 4
    assert all(s.seed >> 100 and not s.local_seed >> 48 for s in secret)


def test_clients_that_are_still_to_come():
    given = federation(sizes=())
    private = private_rounds(given, CLIENTS, 2, 3, secret=False)
    assert np.isnan(private.privacy.noise_multiplier)
    with pytest.raises(ValueError, match="GroupNormalization"):
        private_rounds(federation(normalized_network, sizes=()), CLIENTS, None, 3, secret=False)


def test_nobody_gives_noise_of_the_right_size():
    private = made_private(federation(), noise_multiplier=3.0)
    noise = run(private, n_rounds=200, chosen=[]).weights - start(private).weights
    # 200 rounds of sd 3 * CLIP / 3 each; 67 numbers: the sd of their sd is 9 %
    assert np.std(noise) == pytest.approx(CLIP * np.sqrt(200), rel=0.35)
    assert abs(np.mean(noise)) < 4 * np.std(noise) / np.sqrt(noise.size)


def test_an_adaptive_norm_finds_the_median():
    adaptive = DifferentialPrivacy(1e3, 1e-2, clip_norm="adaptive", accountant="rdp")
    private = made_private(federation(sizes=[10] * 40), adaptive)
    given = replace(private, privacy=None)
    each = [
        np.linalg.norm(run(given, n_rounds=1, chosen=[k]).weights - start(given).weights)
        for k in range(0, 40, 4)
    ]
    frozen = replace(private, learning_rate=private.learning_rate)
    state = start(frozen)
    for _ in range(40):  # always from the same weights
        state = replace(run(frozen, n_rounds=1, state=state), weights=start(frozen).weights)
    assert state.privacy["norm"] == pytest.approx(np.median(each), rel=0.3)


def test_each_client_is_drawn_for_itself():
    counts = [len(drawn(0, number, 200, rate=0.25)) for number in range(200)]
    assert np.mean(counts) == pytest.approx(50, abs=1.5)
    assert np.var(counts) == pytest.approx(200 * 0.25 * 0.75, rel=0.35)


def test_a_lot_may_be_empty_and_rows_are_drawn_for_themselves():
    steps = [s for r in range(100) for s in lots(0, r, 1, 20, local_epochs=1, batch_size=2)]
    sizes = [len(step) for step in steps]
    assert len(steps) == 1000 and min(sizes) == 0
    assert np.mean(sizes) == pytest.approx(2, abs=0.15)
    assert np.var(sizes) == pytest.approx(20 * 0.1 * 0.9, rel=0.2)


@pytest.mark.parametrize("algorithm", [None, FedProx(mu=0.5)])
@pytest.mark.parametrize("build", [dense_network, recurrent_network])
def test_hidden_rows_without_noise_are_clipped_ones(build, algorithm):
    given = federation(build, sizes=(12,))
    if algorithm is not None:
        given = replace(given, algorithm=algorithm)
    private = made_private(given, ROWS, noise_multiplier=0.0)
    got = run(private, n_rounds=1).weights
    expected = clipped_descent(private)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def clipped_descent(given) -> np.ndarray:
    """One client's round, a row after the other."""
    model, layout, data = given.model, given.layout, given.clients.batch(0)
    params = [v.value for v in model.trainable_variables]
    anchor = params
    buffers = [v.value for v in model.non_trainable_variables]
    own = task_objective(model, given.loss)
    for places in lots(given.seed, 0, 0, len(data), local_epochs=1, batch_size=given.batch_size):
        total = [np.zeros(p.shape, np.float32) for p in params]

        def penalties(params, buffers, batch):
            step = own(params, buffers, batch)
            outputs = model.stateless_call(params, buffers, batch.x, training=True)[0]
            return step._replace(loss=step.loss - given.loss(batch.y, outputs))

        one = data.take(np.array([0]))
        row = TensorBatch(tf.constant(one.x), tf.constant(one.y))
        pull = given.algorithm.objective(penalties, anchor)
        _, free = value_and_gradient(pull)(params, buffers, row)
        _, weighing = value_and_gradient(penalties)(params, buffers, row)
        for place in places:
            one = data.take(np.array([place]))
            row = TensorBatch(tf.constant(one.x), tf.constant(one.y))
            _, gradients = value_and_gradient(own)(params, buffers, row)
            gradients = [g - w for g, w in zip(gradients, weighing, strict=True)]
            norm = np.sqrt(sum(float(tf.reduce_sum(g**2)) for g in gradients))
            total = [
                t + g.numpy() * min(1, 0.5 / norm) for t, g in zip(total, gradients, strict=True)
            ]
        params = [
            p - given.learning_rate * (t / given.batch_size + f)
            for p, t, f in zip(params, total, free, strict=True)
        ]
    return layout.join(params, []).numpy()


def test_an_algorithm_cannot_look_at_rows_past_the_clipping():
    class Curious(FedAvg):
        def objective(self, objective, anchor):
            def peeking(params, buffers, batch):
                step = objective(params, buffers, batch)
                return step._replace(loss=step.loss + tf.reduce_sum(params[0]) * batch.x[0, 0])

            return peeking

    private = made_private(replace(federation(sizes=(12,)), algorithm=Curious()), ROWS)
    with pytest.raises(TypeError, match="NoneType"):
        run(private, n_rounds=1)


def test_rows_of_a_large_client_get_noise_for_its_batches():
    given = federation(sizes=(40,))
    private = made_private(given, ROWS, noise_multiplier=2.0)
    silent = made_private(given, ROWS, noise_multiplier=0.0)
    difference = [
        run(replace(private, seed=s), n_rounds=1).weights
        - run(replace(silent, seed=s), n_rounds=1).weights
        for s in range(30)
    ]
    # 8 steps; the noise of early ones changes later gradients a little
    expected = given.learning_rate * 2.0 * 0.5 / 5 * np.sqrt(8)
    assert np.std(difference) == pytest.approx(expected, rel=0.15)


def test_a_client_s_noise_does_not_change_with_whom_it_is_trained():
    private = made_private(federation(sizes=(9, 12)), ROWS)
    before = start(private).weights
    one, two, both = (
        run(private, n_rounds=1, chosen=chosen).weights - before for chosen in ([0], [1], [0, 1])
    )
    np.testing.assert_allclose(both, (9 * one + 12 * two) / 21, atol=1e-6)


@pytest.mark.parametrize("sizes", [(32, 33), (20, 40), (64, 65), (5, 40, 65, 600)])
def test_no_client_s_rows_spend_more_than_the_budget(sizes):
    """One with a few rows more may take a step more, at nearly the same rate."""
    budget = DifferentialPrivacy(3.0, 1e-4, level="example", accountant="rdp")
    given = federation(sizes=sizes, batch_size=32, local_epochs=2)
    private = private_rounds(given, budget, None, 20, secret=False).privacy
    spent = [
        epsilon_spent(
            budget,
            noise_multiplier=private.noise_multiplier,
            n_steps=20 * 2 * -(-n // 32),
            sampling_rate=min(1.0, 32 / n),
        )
        for n in sizes
    ]
    assert 2.99 < max(spent) <= 3.0


def test_noise_of_rows_is_not_drawn_from_a_few_bits():
    """TensorFlow folds a number into as few bits as the number has."""
    keys, own = [], tf.random.stateless_normal

    def noting(shape, seed):
        keys.append(seed)
        return own(shape, seed)

    private = made_private(federation(sizes=(12,)), ROWS)
    with counted_traces(), mock.patch.object(tf.random, "stateless_normal", noting):
        run(private, n_rounds=1)
    assert [key.dtype for key in keys] == [tf.int64]


def test_a_large_delta_is_told(patients):
    X, y, ids = patients
    with pytest.warns(PrivacyWarning, match="one over the number of clients, 60"):
        trainer(privacy=replace(CLIENTS, delta=0.5), n_rounds=1).fit(X, y, client_ids=ids)


@pytest.fixture(scope="module")
def patients():
    X, y, _ = blobs(300, 5)
    return X, y, np.arange(300) % 60


def trainer(**parameters):
    settings = {"model": dense_network, "n_rounds": 4, "local_epochs": 2, "random_state": 0}
    return FederatedTrainer(**(settings | {"privacy": CLIENTS} | parameters))


@pytest.mark.parametrize("privacy", [CLIENTS, ROWS])
def test_the_budget_is_spent_and_no_more(patients, privacy):
    X, y, ids = patients
    if privacy is ROWS:
        ids = ids % 3
    fitted = trainer(privacy=privacy).fit(X, y, client_ids=ids)
    spent = fitted.history_["epsilon"]
    assert len(spent) == 4 and (np.diff(spent) > 0).all()
    assert 0.95 * privacy.epsilon < spent[-1] <= privacy.epsilon
    assert fitted.ledger_.epsilon <= privacy.epsilon
    weights = fitted.model_.get_weights()
    with pytest.raises(PrivacyBudgetSpent, match="larger 'epsilon'"):
        fitted.partial_fit(X, y, client_ids=ids)
    for before, after in zip(weights, fitted.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_it_learns(patients):
    X, y, ids = patients
    assert trainer(n_rounds=15).fit(X, y, client_ids=ids).score(X, y) > 0.8


def test_a_saved_ledger_goes_on(patients, tmp_path):
    X, y, ids = patients
    first = trainer().partial_fit(X, y, client_ids=ids)
    path = autokit.save(first, tmp_path / "trainer.autokit")
    again = autokit.load(path)
    assert again.ledger_ == first.ledger_
    again.set_params(model=first.model)  # functions are not saved
    for part in (first, again):
        part.partial_fit(X, y, client_ids=ids)
    assert again.ledger_.n_steps == 2
    np.testing.assert_array_equal(again.predict_proba(X), first.predict_proba(X))
    assert again.history_["epsilon"] == first.history_["epsilon"]


def test_a_seed_repeats_and_none_does_not(patients):
    X, y, ids = patients
    one, two = (trainer().fit(X, y, client_ids=ids).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    loose = [
        trainer(random_state=None, n_rounds=1).fit(X, y, client_ids=ids).history_["clients"]
        for _ in range(2)
    ]
    assert len(loose[0][0]) == 60  # all are drawn
    shares = [
        trainer(random_state=None, n_rounds=1, clients_per_round=0.5)
        .fit(X, y, client_ids=ids)
        .history_["clients"][0]
        for _ in range(2)
    ]
    assert shares[0] != shares[1]


def test_constants_of_a_normalisation_get_no_noise(patients):
    X, y, ids = patients

    def network(shape, n_outputs):
        scale = keras.layers.Normalization(mean=[1.0] * 4, variance=[4.0] * 4)
        return keras.Sequential(
            [keras.Input(shape), scale, keras.layers.Dense(n_outputs, "softmax")]
        )

    def adapted(shape, n_outputs):
        scale = keras.layers.Normalization()
        scale.adapt(X.astype("float32"))
        return keras.Sequential(
            [keras.Input(shape), scale, keras.layers.Dense(n_outputs, "softmax")]
        )

    for build in (network, adapted):
        fitted = trainer(model=build).fit(X, y, client_ids=ids)
        for variable, known in zip(
            fitted.model_.layers[0].variables, build((4,), 3).layers[0].variables, strict=True
        ):
            np.testing.assert_array_equal(variable.numpy(), known.numpy())


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"model": lambda shape, n: normalized_network(n_outputs=n)}, "GroupNormalization"),
        ({"algorithm": Scaffold()}, "'algorithm' parameter is Scaffold"),
        ({"aggregator": "median"}, r"'aggregator' parameter is Median\(\)"),
        ({"communication": "top_k"}, "error feedback.*give it error_feedback=False"),
        ({"privacy": replace(ROWS, clip_norm="adaptive")}, "give it a number"),
        ({"privacy": ROWS, "algorithm": FedSGD()}, "take 'fedavg'"),
        ({"privacy": 1.0}, "'privacy' parameter"),
    ],
)
def test_what_would_tell_past_the_noise_is_refused(patients, parameters, words):
    X, y, ids = patients
    if "model" in parameters:
        X = np.repeat(X, 9, axis=1).reshape(-1, 6, 6, 1)
    with pytest.raises(ValueError, match=words):
        trainer(**parameters).fit(X, y, client_ids=ids)


def test_the_default_network_of_images_has_groups_instead_of_batches():
    images = np.random.default_rng(0).random((24, 8, 8)).astype(np.float32)
    labels, ids = np.arange(24) % 2, np.arange(24) % 8
    fitted = trainer(model=None, n_rounds=1).fit(images, labels, client_ids=ids)
    kinds = {type(layer) for layer in fitted.model_.layers}
    assert keras.layers.GroupNormalization in kinds
    assert keras.layers.BatchNormalization not in kinds
