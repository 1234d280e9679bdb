"""What the kernel is asked about processes: die with the parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # prctl(2)


def dies_with_parent(sent: signal.Signals) -> Callable[[], None] | None:
    """A `preexec_fn` that has the kernel send `sent` when the parent dies, also by `kill -9`. None outside Linux.

    The kernel watches the thread that started the child, so children are started by the main thread. A child that
    changes its user loses the setting; `subprocess` changes it before it calls this.
    """
    if sys.platform != "linux":
        return None
    parent, prctl = os.getpid(), ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, int(sent))
        if os.getppid() != parent:  # it died before we asked
            os.kill(os.getpid(), sent)

    return ask
