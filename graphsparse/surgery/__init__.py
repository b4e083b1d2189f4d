"""Masks put back on models and files, without changing what the network computes."""

from graphsparse.surgery.write import Written, write_masks

__all__ = ["Written", "write_masks"]
