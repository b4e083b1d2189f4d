"""Graphs for other programs: files, networkx and igraph."""
