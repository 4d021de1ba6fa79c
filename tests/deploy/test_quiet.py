from __future__ import annotations

import logging
import os
import threading
import warnings

from autokit.deploy.quiet import quiet


def test_everything_is_swallowed_and_put_back(capfd):
    level = logging.getLogger("tensorflow").level
    filters = list(warnings.filters)
    with quiet():
        os.write(2, b"native noise\n")
        warnings.warn("noise", stacklevel=1)
        logging.getLogger("tensorflow").error("noise")
    os.write(2, b"heard\n")
    assert capfd.readouterr().err == "heard\n"
    assert logging.getLogger("tensorflow").level == level
    assert warnings.filters == filters


def test_threads_that_overlap_leave_the_terminal_as_it_was(capfd):
    inside, leave = threading.Event(), threading.Event()

    def other():
        with quiet():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with quiet():
        thread.start()
        inside.wait()
    os.write(2, b"still swallowed\n")
    leave.set()
    thread.join()
    os.write(2, b"heard\n")
    assert capfd.readouterr().err == "heard\n"
