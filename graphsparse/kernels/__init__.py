"""The compiled loops of a sweep, and what they work on: masks as bits, numbers of any algebra. Free of torch.

`masks`, `bits`, `lines`, `line_maps`, `maps` and `found` are liveness on bits; `many_masks`, `words` and `bit_sums` the same
for 64 masks at once; `numbers`, `elements` and `element_loops` every other algebra;
`layout` says where a kernel lies in its parameter. `docs/architecture.md` has a line for each file.
"""
