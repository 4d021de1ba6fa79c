"""Is a finished trial ever lost when the process is killed?

A search with `storage` runs in a process that announces each finished trial through a pipe once
the search was told of it. The process is killed (SIGKILL) at a random moment of the search and
started again, until all kills are spent; then it runs to its end. Every trial that was ever
announced must be in the final result, unchanged. `value` is the number of lost trials.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import tempfile
import threading
from pathlib import Path

import record


class Announcer:
    """A strategy around another that announces what it is told."""

    def __init__(self, inner, pipe):
        self.inner, self.pipe = inner, pipe

    def ask(self, n):
        return self.inner.ask(n)

    def tell(self, evaluations):
        for e in evaluations:
            self.pipe.send(json.dumps([e.number, repr(e.architecture), e.score]))
        self.inner.tell(evaluations)


def search(path, trials, pipe):
    """Run or continue the search; the pipe gets the trials, then the final table."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from sklearn.datasets import load_iris

    from autokit import NASClassifier
    from autokit.nas import MLPSpace, RegularizedEvolution

    def strategy(space, rng):
        return Announcer(RegularizedEvolution(space, rng), pipe)

    X, y = load_iris(return_X_y=True)
    pipe.send(json.dumps("searching"))
    model = NASClassifier(
        MLPSpace(max_depth=2),
        strategy=strategy,
        max_trials=trials,
        time_budget_s=None,
        epochs=4,
        storage=path,
        random_state=0,
    ).fit(X, y)
    final = [[e.number, repr(e.architecture), e.score] for e in model.search_result_.evaluations]
    pipe.send(json.dumps({"final": final}))


def main():
    options = record.arguments(__doc__, seeds=1, kills=50, trials=120, longest=5.0)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["autokit.nas.estimator"])
    for seed in range(options.seeds):
        rng = random.Random(seed)
        announced, final, kills = {}, None, 0
        with tempfile.TemporaryDirectory() as folder, record.measured() as cost:
            path = Path(folder) / "search.journal"
            while final is None:
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=search, args=(path, options.trials, sender))
                process.start()
                sender.close()
                try:
                    while True:
                        message = json.loads(receiver.recv())
                        if message == "searching":
                            if kills < options.kills:
                                delay = rng.uniform(0.1, options.longest)
                                threading.Timer(delay, kill, args=(process,)).start()
                        elif isinstance(message, dict):
                            final = message["final"]
                        else:
                            known = announced.setdefault(message[0], message)
                            assert known == message, f"{message} was {known} before the kill"
                except EOFError:
                    process.join()
                if process.exitcode == -signal.SIGKILL:
                    kills += 1
                    print(f"kill {kills}: {len(announced)} trials announced", flush=True)
                elif final is None:
                    raise SystemExit(f"the search failed with exit code {process.exitcode}")
                else:
                    break
        lost = [m for n, m in announced.items() if m not in final]
        line = record.write(
            "search_kills",
            f"{kills} kills",
            "iris",
            seed,
            len(lost),
            trials=len(final),
            announced=len(announced),
            seconds=cost["seconds"],
        )
        print(record.table([line], {"value": 0, "trials": 0, "announced": 0, "seconds": 0}))


def kill(process):
    """Kill the process unless it has ended."""
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
