"""Differential privacy: mechanisms, clipping, accounting, and an attack that audits them.

Training and federated learning both stand on it. Names are loaded when first used.
"""

from __future__ import annotations

from autokit.names import lazy

_PUBLIC = {
    "AdaptiveClip": "clipping",
    "DifferentialPrivacy": "parameters",
    "Ledger": "accounting",
    "MembershipAudit": "audit",
    "Phase": "accounting",
    "PrivacyBudgetSpent": "parameters",
    "PrivacyWarning": "parameters",
    "adapted": "clipping",
    "analytic_gaussian_sigma": "gaussian",
    "clip_rows": "clipping",
    "dp_accounting": "accounting",
    "epsilon_spent": "accounting",
    "gaussian_mechanism": "gaussian",
    "gaussian_sigma": "gaussian",
    "membership_inference": "audit",
    "noise_multiplier": "accounting",
    "private_sum": "clipping",
    "split_noise": "clipping",
    "warn_of_delta": "parameters",
}

__all__ = list(_PUBLIC)

__getattr__, __dir__ = lazy(__name__, _PUBLIC)
