"""graphsparse: how sparse a pruned network really is."""
from graphsparse.capture import export
