"""Dead units taken out of a model's tensors."""

from graphsparse.compaction.compact import compact
from graphsparse.compaction.compacted import Compacted

__all__ = ["Compacted", "compact"]
