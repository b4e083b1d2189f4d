"""The compiled loops of a sweep, and what they work on: masks as bits, numbers of any algebra. Free of torch.

`masks`, `bits`, `lines` and `maps` are liveness on bits; `numbers`, `elements` and `element_loops` every other algebra;
`layout` says where a kernel lies in its parameter. `docs/architecture.md` has a line for each file.
"""
