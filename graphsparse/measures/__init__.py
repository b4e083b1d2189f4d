"""Numbers about a graph."""
