"""The inner loops of a sweep, generic over the algebra by element type and free of torch.

Two layouts serve every kernel block: `flat`, a row of the kernel against one value per column; and `maps`, where a
unit's positions are a row of machine words (64 positions a word) in the boolean algebra and a row of floats in
(max, min). `columns` gathers unit values into that layout and scatters them back; `wires` moves values along fixed
wiring; `sweeps` puts them together for one kernel block.
"""
