"""Where the machine code of compiled loops is kept, so that they are compiled once and not in every process."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import numba


def can_keep() -> bool:
    """Whether machine code can be kept: beside the package, in the user's cache, else in a temporary folder.

    numba tries the first two (or ``NUMBA_CACHE_DIR``), and raises if it can write to neither, as on a read-only file
    system. Without a place, loops are compiled anew in every process.
    """
    if _found():
        return True
    folder = _private_folder()
    if folder is None:
        return False
    numba.config.CACHE_DIR = str(folder)
    return _found()


def _found() -> bool:
    try:
        numba.njit(cache=True)(_probe)
    except RuntimeError:  # "no locator available"
        return False
    return True


def _probe() -> None:
    """numba looks for a place for a function's code when it is decorated, and all loops lie in this folder."""


def _private_folder() -> Path | None:
    """A temporary folder that only this user can write to: code is loaded from it."""
    if not hasattr(os, "getuid"):
        return None
    try:
        folder = Path(tempfile.gettempdir()) / f"graphsparse-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return folder if own else None
