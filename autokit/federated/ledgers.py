"""What private rounds have spent, when training goes on."""

from __future__ import annotations

from autokit.privacy import DifferentialPrivacy, Ledger


def going_on(
    privacy: DifferentialPrivacy | None, before: Ledger | None, n_rounds: int
) -> Ledger | None:
    """The ledger that further rounds are entered into; None without privacy.

    Parameters
    ----------
    privacy : DifferentialPrivacy or None
        Of the rounds to come.
    before : Ledger or None
        Of the rounds so far.
    n_rounds : int
        Rounds so far.

    Raises
    ------
    ValueError
        What earlier rounds have learnt is not hidden, or something else of it is.
    """
    if privacy is None:
        return None
    if before is None and n_rounds:
        raise ValueError(
            "The model was trained without privacy, and going on with it hides nothing of what it "
            "has learnt; call fit, which starts a new one."
        )
    if before is not None and before.privacy.level != privacy.level:
        raise ValueError(
            f"The model was trained with privacy of level {before.privacy.level!r}, and that of "
            f"the 'privacy' parameter is {privacy.level!r}; leave it, or call fit, which starts a "
            "new one."
        )
    return Ledger(privacy, () if before is None else before.phases)
