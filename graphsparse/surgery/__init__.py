"""Masks put back on models and files, without changing what the network computes."""

from graphsparse.surgery.masks import effective_masks
from graphsparse.surgery.write import Written, write_masks

__all__ = ["Written", "effective_masks", "write_masks"]
