"""The progress of a meta-training: a bar, and log lines."""

from __future__ import annotations

import logging

_log = logging.getLogger("autokit.meta")


class MetaProgress:
    """Shows tasks done and the last epoch's figures; a context manager.

    Parameters
    ----------
    verbose : int
        0 shows nothing.
    settings : Settings
    """

    def __init__(self, verbose: int, settings):
        self._shows, self._settings, self._bar = bool(verbose), settings, None

    def __enter__(self) -> MetaProgress:
        if self._shows:
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
            )

            self._bar = Progress(
                TextColumn("episodes"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
            )
            self._task = self._bar.add_task("", total=self._settings.n_episodes)
            self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.stop()

    def epoch(self, n_episodes: int, logs: dict[str, float]) -> None:
        """An epoch is done."""
        text = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
        _log.info("%d of %d episodes: %s", n_episodes, self._settings.n_episodes, text)
        if self._bar is not None:
            self._bar.update(self._task, completed=n_episodes, description=text)
