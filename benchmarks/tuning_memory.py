"""Does the memory of a hyperparameter search stay flat over 200 trials?

Resident memory after every trial of a search over perceptrons of several architectures, one
process. `value` is the growth from the fortieth trial, by when TensorFlow has its buffers and
every pool is full, to the last, as a share; `growth_from_tenth` counts from the tenth.
"""

from __future__ import annotations

import record
from sklearn.datasets import load_iris

FIRST = 40


def main():
    options = record.arguments(__doc__, seeds=1, trials=200, epochs=3, first=FIRST)
    from autokit import KerasClassifier
    from autokit.layers import Perceptron
    from autokit.tuning import Categorical, Float, Int, TunerSearchCV
    from autokit.tuning.evaluation import Evaluator

    X, y = load_iris(return_X_y=True)
    space = {
        "learning_rate": Float(1e-4, 1e-1, log=True),
        "batch_size": Categorical([16, 32, 64]),
        # more architectures than programs are kept
        "model__width": Categorical([16, 32, 64]),
        "model__depth": Int(1, 3),
        "model__dropout": Float(0.0, 0.4, step=0.2),
    }
    lines = []
    for seed in range(options.seeds):
        memory: list[float] = []
        evaluate = Evaluator.evaluate

        def noted(self, *args, memory=memory, evaluate=evaluate, **kwargs):
            trial = evaluate(self, *args, **kwargs)
            memory.append(record.resident_mib())
            return trial

        Evaluator.evaluate = noted
        try:
            with record.measured() as cost:
                TunerSearchCV(
                    KerasClassifier(model=Perceptron(), epochs=options.epochs),
                    space,
                    n_trials=options.trials,
                    cv=2,
                    random_state=seed,
                ).fit(X, y)
        finally:
            Evaluator.evaluate = evaluate
        lines.append(
            record.write(
                "tuning_memory",
                f"{len(memory)} trials",
                "iris",
                seed,
                memory[-1] / memory[options.first] - 1,
                growth_from_tenth=memory[-1] / memory[10] - 1,
                memory_mib=[round(m) for m in memory[::10]],
                **cost,
            )
        )
    print(record.table(lines, {"value": 3, "growth_from_tenth": 3, "seconds": 1}))
    print("MiB every tenth trial:", *lines[-1]["memory_mib"])


if __name__ == "__main__":
    main()
