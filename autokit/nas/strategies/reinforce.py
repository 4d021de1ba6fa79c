"""REINFORCE: an LSTM controller learns to sample what did well."""

from __future__ import annotations

from autokit.nas.strategies.draws import Draws
from autokit.nas.strategies.proposals import unseen_near
from autokit.nas.strategies.ranks import normal_scores

REPEATS = 5


class Reinforce:
    """Sample from a recurrent policy, and make likelier what was better than expected.

    ::

        architecture = space.sample(policy)          # each draw is a decision of the LSTM
        reward       = normal score of the evaluation's rank among all so far
        theta       += Adam(grad (reward - baseline) log p(decisions) + entropy_weight grad H)
        baseline     = decay baseline + (1 - decay) reward

    The reward is a rank, so that scores need no scale, and failures and violations count as what
    they are. What was not asked for moves the baseline only.

    Parameters
    ----------
    space : SearchSpace
        What its ``sample`` draws becomes a sequence of decisions, see `Draws`.
    rng : numpy.random.Generator
    learning_rate : float, default=0.01
    entropy_weight : float, default=0.02
        Of the bonus that keeps the policy from settling too early.
    baseline_decay : float in [0, 1), default=0.9
    units : int, default=64
        Of the LSTM.

    References
    ----------
    Zoph, Le, "Neural Architecture Search with Reinforcement Learning", ICLR 2017, section 3.2,
    equation without number before 3.3: REINFORCE with an exponential moving average as baseline;
    there the reward is the cubed accuracy. Williams, "Simple Statistical Gradient-Following
    Algorithms for Connectionist Reinforcement Learning", 1992. We depart from them where a sample
    was proposed before: it is drawn again up to five times, then mutated.
    """

    def __init__(
        self,
        space,
        rng,
        *,
        learning_rate: float = 0.01,
        entropy_weight: float = 0.02,
        baseline_decay: float = 0.9,
        units: int = 64,
    ):
        if not 0 <= baseline_decay < 1:
            raise ValueError(f"baseline_decay must be in [0, 1); got {baseline_decay}.")
        if learning_rate <= 0 or units < 1:
            raise ValueError(
                f"learning_rate must be above 0 and units at least 1; got {learning_rate} and "
                f"{units}."
            )
        from autokit.nas.strategies.policy import Policy

        self.space, self.rng, self.baseline_decay = space, rng, baseline_decay
        self.policy = Policy(
            int(rng.integers(2**31)),
            units=units,
            learning_rate=learning_rate,
            entropy_weight=entropy_weight,
        )
        self.baseline = 0.0
        self._keys: list = []
        self._waiting: dict = {}
        self._seen: set = set()

    def ask(self, n: int) -> list:
        """Sample `n` architectures."""
        return [self._propose() for _ in range(n)]

    def tell(self, evaluations) -> None:
        """Move the policy by what it had asked for, all in one step."""
        self._seen.update(e.architecture for e in evaluations)
        self._keys += [e.key for e in evaluations]
        rewards = normal_scores(self._keys)[len(self._keys) - len(evaluations) :]
        learned = []
        for evaluation, reward in zip(evaluations, rewards.tolist(), strict=True):
            draws = self._waiting.pop(evaluation.architecture, None)
            if draws is not None and draws.choices:
                learned.append((draws.choices, draws.options, reward - self.baseline))
            self.baseline += (1.0 - self.baseline_decay) * (reward - self.baseline)
        if learned:
            self.policy.update(*zip(*learned, strict=True))

    def _propose(self):
        for _ in range(REPEATS):
            architecture, draws = self._sample()
            if architecture not in self._seen:
                self._seen.add(architecture)
                self._waiting[architecture] = draws
                return architecture
        return unseen_near(self.space, architecture, self._seen, self.rng)

    def _sample(self):
        state = None

        def decide(options):
            nonlocal state
            if len(options) == 1:
                state = self.policy.start()
            probabilities, state = self.policy.step(state, options[-1])
            below = self.rng.random() * probabilities.sum() < probabilities.cumsum()
            choice = int(below.argmax())
            state = self.policy.decided(state, choice)
            return choice

        draws = Draws(decide, self.rng)
        return self.space.sample(draws), draws
