"""What TensorFlow Federated cannot do is refused, with the engine that can."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from autokit.federated.aggregators import Krum, Median, MultiKrum, NormClipping, TrimmedMean
from autokit.federated.algorithms import ALGORITHMS, FedAvg, Scaffold
from autokit.federated.communication import QuantizedUpdates, TopKUpdates
from autokit.federated.engines.tff import TFFEngine
from autokit.federated.engines.tff.description import aggregator_spec
from autokit.testing.federations import federation, linear_network, normalized_network


class Own(FedAvg):
    def objective(self, objective, anchor):
        return objective


def plan(**changes):
    given = {"level": "client", "noise_multiplier": 1.0, "clip_norm": 0.1, "clients_per_round": 9.0}
    return SimpleNamespace(**given | changes)


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"algorithm": Scaffold()}, "algorithm.*Scaffold"),
        ({"algorithm": Own()}, "algorithm.*Own"),
        ({"aggregator": Median()}, "aggregator.*Median"),
        ({"aggregator": Krum()}, "aggregator.*Krum"),
        ({"aggregator": MultiKrum()}, "aggregator.*MultiKrum"),
        ({"aggregator": TrimmedMean()}, "aggregator.*TrimmedMean"),
        ({"aggregator": NormClipping()}, "aggregator.*NormClipping.*clipping=True"),
        ({"aggregator": NormClipping(1.0, inner=Median())}, "aggregator.*NormClipping"),
        ({"communication": TopKUpdates()}, "communication.*TopKUpdates"),
        ({"communication": QuantizedUpdates()}, "communication.*error_feedback=False"),
        ({"batch_norm": "local"}, "batch_norm.*'local'"),
        ({"privacy": plan(level="example")}, "privacy.*level='client'"),
        ({"privacy": plan(), "aggregator": NormClipping(1.0)}, "aggregator.*NormClipping"),
    ],
)
def test_refusals_name_the_argument_and_the_engine_that_can(changes, argument):
    given = federation(linear_network, **changes)
    with pytest.raises(ValueError, match=f"'{argument}.*engine='embedded' can"):
        TFFEngine().check(given)


def test_private_statistics_are_refused_with_the_cure():
    with pytest.raises(ValueError, match="'privacy'.*GroupNormalization"):
        TFFEngine().check(federation(normalized_network, privacy=plan()))
    with pytest.raises(ValueError, match="'privacy'.*leave them out"):
        TFFEngine(zeroing=True).check(federation(linear_network, privacy=plan()))


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - {"scaffold"}))
def test_all_other_algorithms_are_taken(name):
    TFFEngine().check(federation(linear_network, algorithm=ALGORITHMS[name]()))


def test_aggregators_in_plain_values():
    assert aggregator_spec(federation(linear_network)) == {"kind": "mean"}
    given = federation(linear_network, aggregator=NormClipping(norm=2))
    assert aggregator_spec(given, zeroing=3) == {
        "kind": "mean+zeroing", "clip_norm": 2.0, "zero_norm": 3.0,
    }  # fmt: skip
    assert aggregator_spec(federation(linear_network, privacy=plan())) == {
        "kind": "gaussian_fixed", "clip_norm": 0.1, "noise_multiplier": 1.0,
        "clients_per_round": 9.0,
    }  # fmt: skip


def test_parameters_of_the_engine_are_checked():
    with pytest.raises(ValueError, match="'zeroing' parameter of TFFEngine"):
        TFFEngine(zeroing=-1.0).check(federation(linear_network))
