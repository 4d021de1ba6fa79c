"""Model-agnostic meta-learning."""

from __future__ import annotations

from dataclasses import dataclass

from autokit.meta.methods.inner import InnerLoop


@dataclass(kw_only=True, eq=False, repr=False)
class MAML(InnerLoop):
    """Weights from which a few gradient steps learn any task of the kind.

    ::

        p_t = p - inner_learning_rate * grad L_support(p)         # inner_steps times
        p <- Adam(p, mean_t grad_p L_query(p_t))                  # through the inner steps

    Parameters
    ----------
    inner_steps : int, default=1
        Gradient steps in training.
    inner_learning_rate : float, default=0.1
    adaptation_steps : int or None, default=None
        Gradient steps on a new task; None takes `inner_steps`. A support set of more than 512
        rows is learnt in batches, and at least once.
    first_order : bool, default=False
        Leave out the second derivatives, as `FOMAML`.

    References
    ----------
    Finn, Abbeel, Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks",
    2017, algorithms 1 and 2. On Omniglot: 1 step of 0.4 in training and 3 after it for 5 classes,
    5 steps of 0.1 for 20.

    Examples
    --------
    >>> from autokit.meta import MAML
    >>> MAML(adaptation_steps=3).n_adaptation_steps
    3
    """

    first_order: bool = False

    _parameter_constraints = {**InnerLoop._parameter_constraints, "first_order": ["boolean"]}
