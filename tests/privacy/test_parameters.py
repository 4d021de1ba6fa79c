"""The budget that a user asks for."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

from autokit.privacy import DifferentialPrivacy


def test_is_a_value():
    privacy = DifferentialPrivacy(1.0, 1e-5, clip_norm=0.5, level="example", accountant="rdp")
    for other in (copy.deepcopy(privacy), pickle.loads(pickle.dumps(privacy))):
        assert other == privacy and hash(other) == hash(privacy)
    assert eval(repr(privacy)) == privacy
    assert privacy != DifferentialPrivacy(1.0, 1e-5)
    with pytest.raises(AttributeError):
        privacy.epsilon = 2.0


def test_takes_numbers_of_numpy():
    assert DifferentialPrivacy(np.float64(1.0), np.float32(1e-5)).epsilon == 1.0


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"epsilon": 0}, ValueError, r"'epsilon'.*range \(0, inf\); got 0"),
        ({"epsilon": "1"}, TypeError, "'epsilon'.*must be a number; got '1'"),
        ({"epsilon": float("nan")}, ValueError, "'epsilon'"),
        ({"delta": 1.0}, ValueError, r"'delta'.*range \(0, 1\); got 1.0.*such as 1e-5"),
        ({"delta": True}, TypeError, "'delta'"),
        ({"clip_norm": -1.0}, ValueError, "'clip_norm'.*or 'adaptive'"),
        ({"clip_norm": "adaptiv"}, TypeError, "'clip_norm'"),
        ({"level": "clients"}, ValueError, "'level'.*Did you mean 'client'"),
        ({"accountant": "prv"}, ValueError, "'accountant'.*'pld', 'rdp'"),
    ],
)
def test_errors_name_the_parameter_and_the_cure(changes, error, words):
    with pytest.raises(error, match=words):
        DifferentialPrivacy(**({"epsilon": 1.0, "delta": 1e-5} | changes))


def test_the_package_needs_neither_tensorflow_nor_dp_accounting_to_load():
    code = (
        "import sys\n"
        "from autokit.privacy import DifferentialPrivacy, Ledger, clip_rows, gaussian_sigma\n"
        "assert not {'tensorflow', 'keras', 'dp_accounting'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
