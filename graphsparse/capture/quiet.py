"""Calls of other libraries that leave no trace: one thread at a time, no text, no random number used up."""

from __future__ import annotations

import logging
import os
import random
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import numpy as np
import torch

_TURN = threading.RLock()
"""torch.export, the level of logging, the filters of warnings and sys.stderr belong to the process: one thread has them."""

if hasattr(os, "register_at_fork"):  # a child would wait for ever for a thread that it does not have
    os.register_at_fork(before=_TURN.acquire, after_in_parent=_TURN.release, after_in_child=_TURN.release)


class _Muted:
    """A stream that drops what one thread writes and hands on what all others write."""

    def __init__(self, stream: Any):
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        if threading.get_ident() == self._thread or self._stream is None:
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what torch and transformers log, warn and print inside the block; the error that they raise says it again.

    Blocks of several threads run one after the other, so that the level of logging and the filters of warnings are
    afterwards what they were before.
    """
    with _TURN:
        before = logging.root.manager.disable
        logging.disable(logging.ERROR)
        try:
            with warnings.catch_warnings(), redirect_stderr(_Muted(sys.stderr)):
                warnings.simplefilter("ignore")
                yield
        finally:
            logging.disable(before)


@contextmanager
def same_random_state() -> Iterator[None]:
    """Whatever draws random numbers inside the block, the global generators are afterwards as they were."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
