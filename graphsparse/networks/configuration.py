"""A stranger's config.json as a configuration of transformers, without what names code or asks for endless work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from graphsparse.checkpoints.archives.json_text import read_object
from graphsparse.errors import CheckpointError, ModelError

CONFIG = "config.json"
LARGEST = 1 << 24
"""Bytes that a config.json may have. One with many thousand labels has some hundred thousand."""
WAY_OUT = "name the model as package.module:factory"
TRUST = "give trust_sizes=True if the configuration is right"
LEFT_OUT = {
    "auto_map", "custom_pipelines", "_name_or_path", "name_or_path", "_commit_hash", "use_pretrained_backbone",
    "attn_implementation", "_attn_implementation", "_attn_implementation_internal", "experts_implementation",
    "_experts_implementation", "_experts_implementation_internal", "use_kernels", "kernel_config",
}  # fmt: skip
"""Entries that say where code or weights lie, or which kernel to fetch. Without them transformers takes its own code, and
torch's attention."""
COUNTS = re.compile(
    r"(layers?|depths?|blocks?|stages?|labels?|experts?|heads?|groups?|levels?|codebooks?|repeats?)$"
    r"|^(n|num)_(?!.*(position|embed|token|vocab|ctx|bucket|frame|sample|point|step))"
)
MOST = 1 << 16
"""No model has more layers, labels or heads. The limit is checked here, since transformers makes lists of them before it
makes a module."""


def read_configuration(folder: Path, longest: float) -> Any:
    """The configuration in a folder, made by transformers' own class for its ``model_type``.

    Raises ModelError where it is no configuration, or counts more layers, heads or labels than ``longest`` allows, the
    longest axis of a tensor beside it.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    with (folder / CONFIG).open("rb") as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise ModelError(f"a config.json must have at most {LARGEST:,} bytes", place=str(folder / CONFIG))
    try:
        read = read_object(text, str(folder))
    except CheckpointError as error:
        raise not_buildable(folder, error.received) from error
    found = _plain(read, folder, max(MOST, longest))
    kind = found.get("model_type")
    if kind == "mistral" and "layer_types" in found and "ministral" in CONFIG_MAPPING:  # as AutoConfig takes it
        kind = found["model_type"] = "ministral"
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise not_buildable(folder, f"model_type {kind!r}"[:160])
    config = CONFIG_MAPPING[kind].from_dict(found)
    config.use_cache = False
    return config


def not_buildable(folder: Path, received: object) -> ModelError:
    """The error of a configuration of which transformers makes no model."""
    return ModelError(
        "a config.json must describe a model that transformers has, without code of its own", place=str(folder),
        received=received, way_out=WAY_OUT,
    )  # fmt: skip


def too_large(folder: Path, received: str) -> ModelError:
    """The error of a configuration of a far larger model than the tensors beside it are for."""
    return ModelError(
        "a config.json must describe a model of the size of the tensors beside it", place=str(folder),
        received=received, way_out=TRUST,
    )  # fmt: skip


def _plain(value: Any, folder: Path, most: float, key: str = "") -> Any:
    """The same values without the entries that are left out, at every depth. Raises ModelError for counts over ``most``."""
    if isinstance(value, dict):
        return {each: _plain(inner, folder, most, each) for each, inner in value.items() if each not in LEFT_OUT}
    if isinstance(value, list):
        return [_plain(inner, folder, most, key) for inner in value]
    if isinstance(value, (int, float)) and abs(value) > most and COUNTS.search(key):
        raise too_large(folder, f"{key} {value}"[:80])
    return value
