"""Several checkpoints of one network: a run in the order of its steps, and checkpoints side by side."""
