"""A model from a folder that transformers saved: built from config.json alone, without weights or foreign code.

While it is built, nothing may ask a question, fetch anything or start a program, whatever the file says.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as registration

from graphsparse.capture.quiet import quiet
from graphsparse.errors import GraphsparseError, ModelError, brief, needs_extra
from graphsparse.networks.configuration import CONFIG, TRUST, WAY_OUT, not_buildable, read_configuration, too_large

FORBIDDEN = {
    "builtins.input": "ask a question",
    **dict.fromkeys(("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"), "use the network"),
    **dict.fromkeys(("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork"), "start a program"),
}
"""Events of Python's audit hooks (PEP 578), and what they are in words."""
TOKENS = 16  # any length gives the same graph in channel resolution
POSITIONS = ("max_position_embeddings", "max_source_positions", "max_target_positions")
"""Entries of a configuration that say how many rows a table of positions has."""
FIRST_ROWS = 2  # some models (RoBERTa) give no token the first rows of that table
PIXELS = 1 << 26
"""Numbers of an image; no model is made for more."""


@dataclass(frozen=True)
class Beside:
    """The tensors beside a configuration: how many there are, and their longest axis. Infinite where sizes are trusted."""

    tensors: float = inf
    longest: float = inf

    @property
    def parts(self) -> float:
        """How many modules, parameters and buffers a model of so many tensors may have. Most have three for each tensor."""
        return 4096 + 16 * self.tensors


ANY_SIZE = Beside()


def is_pretrained(path: Any) -> bool:
    """Whether a path is a folder with a transformers ``config.json``."""
    try:
        return Path(path, CONFIG).is_file()
    except (TypeError, ValueError, OSError):
        return False


def build_pretrained(
    folder: Any, beside: Beside = ANY_SIZE, device: str = "meta"
) -> tuple[nn.Module, dict[str, Any] | None]:
    """The model that ``config.json`` describes, and inputs for it by name where they are evident.

    Nothing but ``config.json`` is read; attention is torch's own or written out.

    Args:
        folder: where ``config.json`` lies.
        beside: the tensors that the model is for. A configuration of a far larger model is refused while it is built.
        device: "meta", without weights; or "cpu", with the weights that the model is initialised with.

    Raises:
        MissingExtra: transformers is not installed.
        ModelError: the configuration cannot be read, names no model that transformers itself has, or one that is far
            larger than the tensors beside it.
    """
    with needs_extra("transformers", f"a folder with a config.json, as {folder}, needs transformers"), quiet():
        import transformers
    place = Path(folder)
    try:
        with quiet(), _sealed():
            config = read_configuration(place, beside.longest)
            with _counted(beside.parts, place), torch.device(device):
                model = _class_of(config, transformers)(config).eval()
            return model, _inputs(model, config, place, inf if beside.tensors == inf else PIXELS)
    except GraphsparseError:
        raise
    except Exception as error:  # a stranger's configuration makes transformers raise anything
        raise not_buildable(place, brief(error)) from error


_SEALED = ContextVar("sealed", default=False)  # each thread has its own


@cache
def _hook() -> None:
    """Put the hook in when it is first needed, once: Python never takes one out again."""
    sys.addaudithook(_refuse)


@contextmanager
def _sealed() -> Iterator[None]:
    """Refuse, in this thread and inside the block, questions to the user, the network and other programs.

    Raises ModelError at the place where one of these is tried.
    """
    _hook()
    before = _SEALED.set(True)
    try:
        yield
    finally:
        _SEALED.reset(before)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event in FORBIDDEN and _SEALED.get():
        rule = f"a model must be built from its config.json alone: nothing there may {FORBIDDEN[event]}"
        raise ModelError(rule, received=event, way_out=WAY_OUT)


@contextmanager
def _counted(most: float, folder: Path) -> Iterator[None]:
    """Refuse a model of more than so many modules, parameters and buffers, as soon as it has them."""
    thread, count = threading.get_ident(), 0

    def add(*_: Any) -> None:
        nonlocal count
        count += threading.get_ident() == thread
        if count > most:
            raise too_large(folder, f"more than {int(most):,} modules and parameters")

    with ExitStack() as hooks:
        for register in (
            registration.register_module_module_registration_hook,
            registration.register_module_parameter_registration_hook,
            registration.register_module_buffer_registration_hook,
        ):
            hooks.callback(register(add).remove)
        yield


def _class_of(config: Any, transformers: Any) -> type[nn.Module]:
    name = str((getattr(config, "architectures", None) or ["no architectures"])[0])
    found = getattr(transformers, name, None) if name.isidentifier() else None
    if inspect.isclass(found) and issubclass(found, transformers.PreTrainedModel) and issubclass(found, nn.Module):
        return found
    raise ModelError("a config.json must name a model class of transformers", received=name, way_out=WAY_OUT)


def _inputs(model: Any, config: Any, folder: Path, most: float) -> dict[str, Any] | None:
    """One sample of tokens or one image, of the sizes that the configuration gives; an image takes no memory."""
    main, sides = model.main_input_name, getattr(config, "image_size", None)
    if main == "input_ids":
        tokens = torch.zeros(1, _length(config), dtype=torch.int64)
        return {main: tokens, **({"decoder_input_ids": tokens} if config.is_encoder_decoder else {})}
    if main == "pixel_values" and sides is not None:
        height_width = tuple(sides) if isinstance(sides, (list, tuple)) else (sides, sides)
        shape = (getattr(config, "num_channels", 3), *height_width)
        if len(shape) != 3 or not all(type(size) is int and size > 0 for size in shape):
            rule = "an image must have channels, a height and a width"
            raise ModelError(rule, place=str(folder), received=shape, way_out=WAY_OUT)
        if shape[0] * shape[1] * shape[2] > most:
            rule = f"an image must have at most {PIXELS:,} numbers"
            raise ModelError(rule, place=str(folder), received=shape, way_out=TRUST)
        return {main: torch.empty(1, *shape, device="meta")}
    return None


def _length(config: Any) -> int:
    """How many tokens a sample has: fewer than usual where a table of positions is short."""
    sizes = [getattr(part, name, None) for part in (config, getattr(config, "text_config", None)) for name in POSITIONS]
    shortest = min((size for size in sizes if type(size) is int and size > 0), default=TOKENS + FIRST_ROWS)
    return max(1, min(TOKENS, shortest - FIRST_ROWS))
