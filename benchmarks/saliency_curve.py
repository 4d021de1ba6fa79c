"""Which weights can go? Magnitude against Optimal Brain Damage against chance, 50 to 95 % zeros.

`value` is the test accuracy on digits of one perceptron, pruned in the same rounds with the same
tuning to one sparsity. The curve goes to ``results/saliency_curve.png``.
"""

from __future__ import annotations

from statistics import fmean, stdev

import record
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
METHODS = {
    "random": {"saliency": "random"},
    "magnitude": {"saliency": "magnitude"},
    "magnitude, global": {"saliency": "magnitude", "scope": "global"},
    "OBD": {"saliency": "gauss_newton"},
    "OBD, global": {"saliency": "gauss_newton", "scope": "global"},
}
COLORS = dict(zip(METHODS, ("0.6", "tab:orange", "tab:red", "tab:blue", "tab:green"), strict=True))


def plot(lines: list[dict]) -> None:
    """Mean and standard deviation by sparsity, a line per method."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for method, color in COLORS.items():
        groups = {
            s: [r["value"] for r in lines if (r["name"], r["sparsity"]) == (method, s)]
            for s in SPARSITIES
        }
        means = [100 * fmean(g) for g in groups.values()]
        errors = [100 * stdev(g) if len(g) > 1 else 0.0 for g in groups.values()]
        places = [100 * s for s in SPARSITIES]
        style = "--" if method.endswith("global") else "-"
        axes.errorbar(
            places, means, errors, label=method, color=color, ls=style, marker="o", capsize=2
        )
    before = [100 * v for v in {r["seed"]: r["before"] for r in lines}.values()]
    axes.axhline(fmean(before), color="black", lw=0.8, ls=":", label="not pruned")
    axes.set(xlabel="zeros in each kernel (global: in all) / %", ylabel="test accuracy / %")
    axes.set_title("A perceptron on digits, pruned in 5 rounds")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(record.RESULTS / "saliency_curve.png", dpi=120)


def main():
    options = record.arguments(__doc__, seeds=3, epochs=20, first_seed=0)
    from autokit import KerasClassifier, layers
    from autokit._backend import keras
    from autokit.compression import prune_optimal_brain_damage

    digits = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        digits.images, digits.target, stratify=digits.target, random_state=0
    )
    lines = []
    for seed in range(options.first_seed, options.seeds):
        keras.utils.set_random_seed(seed)
        network = layers.mlp((8, 8), 10)
        fitted = KerasClassifier(network, epochs=30, random_state=seed).fit(x_train, y_train)
        for name, parameters in METHODS.items():
            for sparsity in SPARSITIES:
                with record.measured() as cost:
                    made = prune_optimal_brain_damage(
                        fitted, x_train, y_train, sparsity=sparsity, epochs=options.epochs,
                        validation_fraction=0.1, **parameters,
                    )  # fmt: skip
                lines.append(
                    record.write(
                        "saliency_curve",
                        f"{name}, {sparsity:.0%}",
                        "digits",
                        seed,
                        made.score(x_test, y_test),
                        name=name,
                        sparsity=sparsity,
                        before=fitted.score(x_test, y_test),
                        **cost,
                    )
                )
                print(seed, name, sparsity, lines[-1]["value"], flush=True)
    print(record.table(lines, {"value": 4, "cpu_seconds": 1}))
    plot(record.latest(record.read("saliency_curve")))


if __name__ == "__main__":
    main()
