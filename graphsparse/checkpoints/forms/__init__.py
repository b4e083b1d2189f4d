"""The ways a checkpoint says what is pruned: one file a form, read and write beside each other."""

from __future__ import annotations

from graphsparse.checkpoints.forms import prune, zeros

FORMS = {form.NAME: form for form in (prune, zeros)}
"""In the order in which they are looked for; every state dict without marks is read by its zeros."""
