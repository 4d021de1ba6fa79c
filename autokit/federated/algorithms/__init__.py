"""Algorithms: the client's half and the server's half of each in one file."""

from __future__ import annotations

from autokit.federated.algorithms.fedadagrad import FedAdagrad
from autokit.federated.algorithms.fedadam import FedAdam
from autokit.federated.algorithms.fedavg import FedAvg
from autokit.federated.algorithms.fedavgm import FedAvgM
from autokit.federated.algorithms.fedprox import FedProx
from autokit.federated.algorithms.fedsgd import FedSGD
from autokit.federated.algorithms.fedyogi import FedYogi
from autokit.federated.algorithms.scaffold import Scaffold

ALGORITHMS = {
    "fedavg": FedAvg,
    "fedsgd": FedSGD,
    "fedprox": FedProx,
    "fedavgm": FedAvgM,
    "fedadam": FedAdam,
    "fedyogi": FedYogi,
    "fedadagrad": FedAdagrad,
    "scaffold": Scaffold,
}
