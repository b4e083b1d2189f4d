"""How the loops of this package are compiled."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numba
from numba.core import event

from graphsparse.kernels.cache import can_keep

LOG = logging.getLogger("graphsparse")
LINE = "Compiling loops for the first use (once per installation) ..."


class _Announcer(event.Listener):
    """Logs once, at INFO, that loops of this package are being compiled: not when they are read from disk."""

    said = False

    def on_start(self, event: Any) -> None:
        function = getattr(event.data.get("dispatcher"), "py_func", None) if event.data else None
        if not self.said and str(getattr(function, "__module__", "")).startswith("graphsparse."):
            self.said = True
            LOG.info(LINE)

    def on_end(self, event: Any) -> None:
        """Nothing to say."""


ANNOUNCER = _Announcer()
event.register("numba:compile", ANNOUNCER)
KEPT = can_keep()
compiled = numba.njit(nogil=True, cache=KEPT, error_model="numpy")
"""A loop that Python calls; its machine code is kept on disk where that can be."""

inlined = numba.njit(nogil=True, error_model="numpy")
"""A step that only compiled loops call; its machine code is part of theirs."""


class Loop:
    """A loop over the elements of an algebra, its first argument; compiled for each algebra.

    Only code for algebras of this package is kept on disk: its list must be readable without somebody else's module. numba
    notices changes of the loop's own file alone. After a change of a step in `elements` or of an algebra, remove
    ``graphsparse/kernels/__pycache__``, or the old code runs on.
    """

    def __init__(self, function: Callable[..., Any]):
        settings = {"nogil": True, "error_model": "numpy", "fastmath": {"nnan", "nsz"}}
        self.kept = numba.njit(cache=KEPT, **settings)(function)
        self.forgotten = numba.njit(**settings)(function)
        self.__doc__ = function.__doc__

    def __call__(self, algebra: Any, *arguments: Any) -> Any:
        ours = type(algebra).__module__.startswith("graphsparse.")
        return (self.kept if ours else self.forgotten)(algebra, *arguments)
