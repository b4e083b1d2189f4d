"""From a torch model to a graph: `export`."""

from graphsparse.capture.graphs import export
from graphsparse.capture.network import Network, network_of
from graphsparse.capture.rules import Rule

__all__ = ["Network", "Rule", "export", "network_of"]
