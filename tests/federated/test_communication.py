"""Packed updates: what is lost, what is not, and how many bytes they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autokit.federated import EmbeddedEngine, FederatedTrainer, QuantizedUpdates, TopKUpdates
from autokit.federated.communication.quantized import _spread, _squeezed
from autokit.testing.federated import (
    CommunicationContract,
)
from autokit.testing.federations import (
    blobs,
    dense_network,
    federation,
    normalized_network,
    run,
    start,
)

CASES = {
    "quantized": QuantizedUpdates,
    "4 bits": lambda: QuantizedUpdates(bits=4, block_size=64),
    "1 bit": lambda: QuantizedUpdates(bits=1, block_size=32),
    "16 bits": lambda: QuantizedUpdates(bits=16),
    "top 10 %": lambda: TopKUpdates(share=0.1),
}


@pytest.fixture(scope="class", params=CASES)
def _name(request):
    request.cls.name = request.param


@pytest.mark.usefixtures("_name")
class TestEveryCommunication(CommunicationContract):
    name: str

    def make_communication(self):
        return CASES[self.name]()


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("size", [1, 7, 8, 9, 1000])
def test_codes_come_out_as_they_went_in(bits, size):
    codes = np.random.default_rng(0).integers(0, 2**bits, size).astype(np.uint16)
    squeezed = _squeezed(codes, bits)
    assert squeezed.nbytes == -(-size * bits // 8)
    np.testing.assert_array_equal(_spread(squeezed, bits, size), codes)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_quantised_numbers_are_right_in_the_mean_and_never_a_step_off(bits):
    rng, way = np.random.default_rng(0), QuantizedUpdates(bits, 50, error_feedback=False)
    update = rng.normal(size=120).astype(np.float32)
    found = np.stack([way.unpack(way.pack(update, rng), 120) for _ in range(400)])
    for first in range(0, 120, 50):
        block = slice(first, first + 50)
        step = np.ptp(update[block]) / (2**bits - 1)
        error = found[:, block] - update[block]
        assert np.abs(error).max() <= step * 1.01 + 1e-6
        # a coin of the worst variance, step^2 / 4: five of its deviations
        assert np.abs(error.mean(axis=0)).max() <= 5 * step / 2 / np.sqrt(400) + 1e-6


def test_the_ends_of_a_block_are_exact():
    update = np.array([-1.5, 0.1, 2.5], np.float32)
    way = QuantizedUpdates(bits=1, error_feedback=False)
    found = way.unpack(way.pack(update, np.random.default_rng(0)), 3)
    np.testing.assert_allclose(found[[0, 2]], update[[0, 2]])
    assert found[1] in (np.float32(-1.5), np.float32(2.5))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_with_feedback_each_number_is_the_nearest_and_residuals_stay_small(bits):
    rng, way = np.random.default_rng(0), QuantizedUpdates(bits=bits)
    update = rng.normal(size=1500).astype(np.float32)
    found = way.unpack(way.pack(update, None), 1500)
    if bits > 1:
        assert np.abs(found - update).max() <= 0.51 * np.ptp(update) / (2**bits - 1)
    else:  # the means of those above and below the mean: the best two numbers for a threshold
        first = update[:1024]
        is_high = first > first.mean()
        expected = np.where(is_high, first[is_high].mean(), first[~is_high].mean())
        np.testing.assert_allclose(found[:1024], expected, rtol=1e-5)
    residual = np.zeros(1500, np.float32)
    norms = []
    for _ in range(200):
        given = residual + rng.normal(size=1500).astype(np.float32)
        residual = given - way.unpack(way.pack(given, None), 1500)
        norms.append(np.linalg.norm(residual) / np.sqrt(1500))
    assert max(norms) < 2.0


def test_bytes_of_quantised_updates():
    update = np.ones(2500, np.float32)
    for bits, codes in ((1, 313), (2, 625), (4, 1250), (8, 2500), (16, 5000)):
        packed = QuantizedUpdates(bits=bits).pack(update, np.random.default_rng(0))
        assert packed.size_bytes == codes + 3 * 8


def test_top_k_sends_the_largest():
    update = np.array([0.1, -3.0, 2.0, 0.0, -0.2], np.float32)
    packed = TopKUpdates(share=0.4).pack(update, None)
    assert packed.arrays["places"].tolist() == [1, 2]
    assert packed.size_bytes == 16
    np.testing.assert_array_equal(TopKUpdates(0.4).unpack(packed, 5), [0, -3, 2, 0, 0])
    whole = TopKUpdates(share=1.0)
    np.testing.assert_array_equal(whole.unpack(whole.pack(update, None), 5), update)
    assert len(TopKUpdates(share=0.01).pack(update, None).arrays["places"]) == 1


def test_clients_keep_what_was_not_sent():
    given = federation(communication=TopKUpdates(share=0.1))
    plain = run(federation(), n_rounds=1)
    sent = run(given, n_rounds=1)
    residuals = [sent.kept[name]["residual"] for name in given.clients.names]
    lost = np.average(residuals, axis=0, weights=(13, 7, 22))
    np.testing.assert_allclose(sent.weights + lost, plain.weights, atol=1e-6)
    assert np.abs(lost).max() > 1e-3
    forgets = run(federation(communication=TopKUpdates(0.1, error_feedback=False)), n_rounds=1)
    np.testing.assert_array_equal(forgets.weights, sent.weights)
    assert not forgets.kept


def test_batch_normalisation_of_their_own_is_not_packed():
    for way in (QuantizedUpdates(bits=2, error_feedback=False), TopKUpdates(share=0.5)):
        given = federation(normalized_network, communication=way, batch_norm="local")
        found, mask = run(given), given.layout.normalization_mask
        assert mask.sum() == 16
        np.testing.assert_array_equal(found.weights[mask], start(given).weights[mask])
        n_bytes = []
        for names in ("average", "local"):
            now = replace(given, batch_norm=names)
            with EmbeddedEngine().open(now, start(now)) as running:
                n_bytes.append(running.round(np.arange(3)).bytes_up)
        assert n_bytes[1] < n_bytes[0]


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("zip", "'communication' parameter of FederatedTrainer must be"),
        (QuantizedUpdates(bits=3), "'bits' parameter of QuantizedUpdates must be .* Got 3"),
        (QuantizedUpdates(block_size=0), "'block_size' parameter of QuantizedUpdates"),
        (QuantizedUpdates(error_feedback=2), "'error_feedback' parameter of QuantizedUpdates"),
        (TopKUpdates(share=0.0), "'share' parameter of TopKUpdates"),
        (TopKUpdates(share=1.1), "'share' parameter of TopKUpdates"),
        (TopKUpdates, "'communication' parameter is the class TopKUpdates"),
    ],
)
def test_a_wrong_setting_is_named(way, message):
    X, y, client_ids = blobs(30)
    with pytest.raises(ValueError, match=message):
        FederatedTrainer(dense_network, communication=way, n_rounds=1).fit(
            X, y, client_ids=client_ids
        )
