"""A model from a folder as transformers saves it: built from config.json on the meta device, without weights or foreign code."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import nn

from graphsparse.errors import GraphsparseError, MissingExtra, ModelError

TOKENS = 16  # any length gives the same graph in channel resolution
WAY_OUT = "name the model as package.module:factory"


def is_pretrained(path: Any) -> bool:
    """Whether a path is a folder with a transformers ``config.json``."""
    try:
        return Path(path, "config.json").is_file()
    except (TypeError, ValueError, OSError):
        return False


def build_pretrained(folder: Any) -> tuple[nn.Module, dict[str, Any] | None]:
    """The model that ``config.json`` describes, on the meta device, and inputs for it by name where they are evident.

    Code that comes with a checkpoint is never run (``trust_remote_code=False``), nothing is downloaded.

    Raises:
        MissingExtra: transformers is not installed.
        ModelError: the configuration cannot be read, or names no model that transformers itself has.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra(
            "a folder with a config.json needs transformers", place=str(folder),
            way_out="pip install 'graphsparse[transformers]'",
        ) from error  # fmt: skip
    try:
        config = transformers.AutoConfig.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
        config.use_cache = False
        with torch.device("meta"):
            model = _class_of(config, transformers)(config).eval()
    except GraphsparseError:
        raise
    except Exception as error:  # a stranger's configuration makes transformers raise anything
        brief = (str(error).splitlines() or [""])[0][:160]
        raise ModelError(
            "a config.json describes a model that transformers has, without code of its own", place=str(folder),
            received=f"{type(error).__name__}: {brief}", way_out=WAY_OUT,
        ) from error  # fmt: skip
    return model, _inputs(model, config)


def _class_of(config: Any, transformers: Any) -> type[nn.Module]:
    name = str((getattr(config, "architectures", None) or ["no architectures"])[0])
    found = getattr(transformers, name, None) if name.isidentifier() else None
    if not (
        inspect.isclass(found) and issubclass(found, transformers.PreTrainedModel) and issubclass(found, nn.Module)
    ):
        raise ModelError("a config.json names a model class of transformers", received=name, way_out=WAY_OUT)
    return found


def _inputs(model: Any, config: Any) -> dict[str, Any] | None:
    """One sample of tokens or one image, of the sizes that the configuration gives."""
    main, sides = model.main_input_name, getattr(config, "image_size", None)
    if main == "input_ids":
        tokens = torch.zeros(1, TOKENS, dtype=torch.int64)
        return {main: tokens, **({"decoder_input_ids": tokens} if config.is_encoder_decoder else {})}
    if main == "pixel_values" and sides:
        height, width = sides if isinstance(sides, (list, tuple)) else (sides, sides)
        return {main: torch.zeros(1, getattr(config, "num_channels", 3), height, width)}
    return None
