"""Values along fixed wiring: sums of units, and gates of two units, one entry per wire."""

from __future__ import annotations

from graphsparse.kernels.algebra import add, compiled, mul


@compiled
def join_forwards(vector, sources, targets):
    """``vector[target] += vector[source]`` for every wire, in order."""
    for e in range(sources.size):
        vector[targets[e]] = add(vector[targets[e]], vector[sources[e]])


@compiled
def join_backwards(vector, sources, targets):
    """``vector[source] += vector[target]`` for every wire, in order."""
    for e in range(sources.size):
        if sources[e] >= 0:
            vector[sources[e]] = add(vector[sources[e]], vector[targets[e]])


@compiled
def scale_forwards(vector, sources, targets, entries, values):
    """``vector[target] += vector[source] * values[entry]`` for every wire."""
    for e in range(sources.size):
        vector[targets[e]] = add(vector[targets[e]], mul(vector[sources[e]], values[entries[e]]))


@compiled
def scale_backwards(vector, sources, targets, entries, values):
    """``vector[source] += vector[target] * values[entry]`` for every wire."""
    for e in range(sources.size):
        if sources[e] >= 0:
            vector[sources[e]] = add(vector[sources[e]], mul(vector[targets[e]], values[entries[e]]))


@compiled
def gate_forwards(signal, nonzero, lefts, rights, targets):
    """Products: not zero where both are not zero, signal where one is signal and the other not zero."""
    for e in range(targets.size):
        a, b, t = lefts[e], rights[e], targets[e]
        nonzero[t] = add(nonzero[t], mul(nonzero[a], nonzero[b]))
        moved = add(mul(signal[a], nonzero[b]), mul(nonzero[a], signal[b]))
        signal[t] = add(signal[t], moved)


@compiled
def gate_backwards(reach, nonzero, lefts, rights, targets):
    """An operand of a product reaches a sink if the product does and the other operand is not zero."""
    for e in range(targets.size):
        a, b, t = lefts[e], rights[e], targets[e]
        if a >= 0:
            reach[a] = add(reach[a], mul(reach[t], nonzero[b]))
        if b >= 0:
            reach[b] = add(reach[b], mul(reach[t], nonzero[a]))
