"""Hospitals that share a model and no rows, on a phone in the end.

    python examples/hospitals.py [FOLDER]

Ten hospitals have digits of few kinds each. They train one network together without sending a
row; hospitals alone would know their own digits only. Then once more with updates of two bits a
number instead of 32. The network is exported like any other.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from autokit import FederatedTrainer, KerasClassifier, export_tflite
from autokit.federated import QuantizedUpdates, partition_dirichlet, plot_partition


def main(folder: Path, n_rounds: int = 40) -> dict[str, float]:
    """Train alone, together, and with few bits; export; accuracies on held-out digits."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
    hospital = partition_dirichlet(y, 10, alpha=0.3, random_state=0)
    folder.mkdir(parents=True, exist_ok=True)
    plot_partition(y, hospital).figure.savefig(folder / "hospitals.png", dpi=120)

    alone = []
    for name in np.unique(hospital):
        own = hospital == name
        if len(np.unique(y[own])) > 1:
            single = KerasClassifier(epochs=20, random_state=0).fit(X[own], y[own])
            alone.append(single.score(X_test, y_test))

    together = FederatedTrainer(n_rounds=n_rounds, local_epochs=2, random_state=0)
    together.fit(X, y, client_ids=hospital)
    print(together.evaluate_clients(X, y, hospital))

    frugal = FederatedTrainer(
        n_rounds=n_rounds,
        local_epochs=2,
        communication=QuantizedUpdates(bits=2),
        random_state=0,
    )
    frugal.fit(X, y, client_ids=hospital)

    report = export_tflite(
        together,
        folder / "digits.tflite",
        quantization="int8",
        representative_data=X[:300],
        overwrite=True,
    )
    results = {
        "alone": float(np.mean(alone)),
        "together": together.score(X_test, y_test),
        "together, MB sent": sum(together.history_["bytes_up"]) / 1e6,
        "two bits": frugal.score(X_test, y_test),
        "two bits, MB sent": sum(frugal.history_["bytes_up"]) / 1e6,
        "file, kB": report.size_bytes / 1000,
    }
    for name, value in results.items():
        print(f"{name}: {value:.4f}")
    return results


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "hospitals"))
