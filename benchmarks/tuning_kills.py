"""Is a finished trial ever lost when the processes of a hyperparameter search are killed?

A search with `storage` runs in one process, and in another round in two at a time, which announce
each trial through a pipe once it is stored. They are killed (SIGKILL) at random moments, each by
itself, and started again until all kills are spent; then they run to their end. Every trial that
was ever announced must be in every final table, unchanged; the table must have exactly the
trials that were asked for; and that of one process must be the table of a search that was never
interrupted. `value` is the number of lost trials.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import tempfile
import threading
import time
from multiprocessing.connection import wait
from pathlib import Path

import record

FIT_S = 0.05


def search(path, trials, pipe):
    """Run or continue the search; the pipe gets each stored trial, then the final table."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from sklearn.datasets import load_iris
    from sklearn.tree import DecisionTreeClassifier

    from autokit.tuning import Float, Int, TunerSearchCV
    from autokit.tuning.storage import TuningStorage

    write, fit = TuningStorage.write, DecisionTreeClassifier.fit

    def told(self, trial, frozen):
        write(self, trial, frozen)
        if pipe is not None:
            pipe.send(line(trial))

    def slow(self, *args, **kwargs):
        time.sleep(FIT_S)
        return fit(self, *args, **kwargs)

    TuningStorage.write, DecisionTreeClassifier.fit = told, slow
    if pipe is not None:
        pipe.send(json.dumps("searching"))
    found = TunerSearchCV(
        DecisionTreeClassifier(),
        {"max_depth": Int(1, 9), "min_samples_leaf": Int(1, 40), "ccp_alpha": Float(0, 0.1)},
        n_trials=trials,
        cv=3,
        storage=path,
        random_state=0,
    ).fit(*load_iris(return_X_y=True))
    table = [line(trial) for trial in found.trials_]
    if pipe is None:
        return table
    pipe.send(json.dumps({"final": table}))


def line(trial) -> str:
    """A trial without its number, which two processes count each for itself."""
    return json.dumps([trial.values, trial.status, trial.scores, trial.steps])


class Process:
    """One process of the search, killed after a while: from its start, or from its first trial."""

    def __init__(self, path, trials, delay, at_once):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["autokit.tuning.estimator", "optuna"])
        self.pipe, sender = context.Pipe(duplex=False)
        self.process = context.Process(target=search, args=(path, trials, sender))
        self.process.start()
        sender.close()
        self.delay, self.at_once, self.final = delay, at_once, None

    def read(self) -> str | None:
        """A stored trial, or None; EOFError at the end of the process."""
        message = self.pipe.recv()
        content = json.loads(message)
        is_trial = isinstance(content, list)
        if self.delay is not None and (is_trial or self.at_once):
            threading.Timer(self.delay, kill, args=(self.process,)).start()
            self.delay = None
        if isinstance(content, dict):
            self.final = content["final"]
        return message if is_trial else None


def kill(process):
    """Kill the process unless it has ended."""
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)


def killed_search(path, n_processes, trials, n_kills, longest, rng):
    """Every announced trial, the final tables and the number of kills."""
    announced, finals, kills, planned = [], [], 0, 0
    running = []
    while len(finals) < n_processes:
        while len(running) < n_processes - len(finals):
            delay = rng.uniform(0.02, longest) if planned < n_kills else None
            planned += delay is not None
            running.append(Process(path, trials, delay, at_once=planned % 4 == 0))
        ready = wait([one.pipe for one in running])
        for one in [one for one in running if one.pipe in ready]:
            try:
                trial = one.read()
                if trial is not None:
                    announced.append(trial)
            except EOFError:
                one.process.join()
                running.remove(one)
                if one.process.exitcode == -signal.SIGKILL:
                    kills += 1
                    print(f"kill {kills}: {len(announced)} trials announced", flush=True)
                elif one.final is None:
                    raise SystemExit(f"the search failed: {one.process.exitcode}") from None
                else:
                    finals.append(one.final)
    return announced, finals, kills


def main():
    options = record.arguments(__doc__, seeds=1, kills=20, trials=100, longest=1.0)
    whole = search(None, options.trials, None)
    lines = []
    for seed in range(options.seeds):
        for n_processes in (1, 2):
            with tempfile.TemporaryDirectory() as folder, record.measured() as cost:
                announced, finals, kills = killed_search(
                    Path(folder) / "search.journal",
                    n_processes,
                    options.trials,
                    options.kills,
                    options.longest,
                    random.Random(seed),
                )
            lost = sum(trial not in final for trial in announced for final in finals)
            lines.append(
                record.write(
                    "tuning_kills",
                    f"{kills} kills, {n_processes} process{'es' * (n_processes > 1)}",
                    "iris",
                    seed,
                    lost,
                    trials=max(map(len, finals)),
                    fewest=min(map(len, finals)),
                    announced=len(announced),
                    same_as_whole=float(finals[0] == whole) if n_processes == 1 else None,
                    seconds=cost["seconds"],
                )
            )
    columns = {"value": 0, "trials": 0, "fewest": 0, "announced": 0, "same_as_whole": 0}
    print(record.table(lines, columns | {"seconds": 0}))


if __name__ == "__main__":
    main()
