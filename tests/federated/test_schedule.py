"""Who takes part and in which batches: pure functions of the seed, the round and the client."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from autokit.federated.schedule import (
    batches,
    client_seed,
    drawn,
    fault_generator,
    noise_generator,
    packing_generator,
)


def test_batches_hold_each_row_once_an_epoch():
    steps = batches(0, 1, 2, 23, local_epochs=3, batch_size=5)
    assert [len(step) for step in steps] == [5, 5, 5, 5, 3] * 3
    epochs = np.split(np.concatenate(steps), 3)
    for epoch in epochs:
        assert sorted(epoch) == list(range(23))
    assert not np.array_equal(epochs[0], epochs[1])
    assert len(batches(0, 1, 2, 4, local_epochs=1, batch_size=32)) == 1


def test_everything_differs_by_seed_round_and_client():
    options = {"local_epochs": 1, "batch_size": 50}
    orders = [
        tuple(batches(*key, 50, **options)[0])
        for key in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (256, 0, 0), (0, 2**31, 0))
    ]
    assert len(set(orders)) == 6
    assert orders[0] == tuple(batches(0, 0, 0, 50, **options)[0])
    seeds = {tuple(client_seed(*key)) for key in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))}
    assert len(seeds) == 4
    assert client_seed(0, 0, 0).dtype == np.uint32
    draws = [
        noise_generator(0, 0).random(),
        fault_generator(0, 0).random(),
        packing_generator(0, 0, 0).random(),
        packing_generator(0, 0, 1).random(),
    ]
    assert len(set(draws)) == 4


def test_draws():
    np.testing.assert_array_equal(drawn(0, 0, 5), np.arange(5))
    np.testing.assert_array_equal(drawn(0, 0, 5, per_round=9), np.arange(5))
    chosen = [drawn(0, number, 100, per_round=10) for number in range(50)]
    for clients in chosen:
        assert len(set(clients.tolist())) == 10
        assert (np.diff(clients) > 0).all()
    assert len({tuple(clients) for clients in chosen}) == 50
    # 50 rounds of 10 of 100: some 0.5 clients are never drawn
    assert len(np.unique(np.concatenate(chosen))) > 95


def test_poisson_sampling_draws_each_for_itself():
    sizes = np.array([len(drawn(0, number, 200, rate=0.1)) for number in range(400)])
    assert sizes.mean() == pytest.approx(20, abs=1)
    assert sizes.var() == pytest.approx(200 * 0.1 * 0.9, rel=0.25)
    assert len(drawn(0, 0, 5, rate=1e-9)) == 0


def test_another_process_has_the_same_batches():
    code = (
        "from autokit.federated.schedule import *; import numpy as np;"
        "print(np.concatenate(batches(7, 3, 1, 9, local_epochs=2, batch_size=4)).tolist(),"
        "drawn(7, 3, 50, per_round=4).tolist(), client_seed(7, 3, 1).tolist())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = (
        np.concatenate(batches(7, 3, 1, 9, local_epochs=2, batch_size=4)).tolist(),
        drawn(7, 3, 50, per_round=4).tolist(),
        client_seed(7, 3, 1).tolist(),
    )
    assert run.stdout.strip() == " ".join(map(str, here))
