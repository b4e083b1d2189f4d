"""Passes read a graph and give a value back; nothing is written on the graph."""
