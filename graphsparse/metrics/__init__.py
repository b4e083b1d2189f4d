"""Topology statistics: what the shape of a pruned network is, and why a part of it is dead."""
