"""Masks in trainers: a plain loop, Lightning, and the Trainer of transformers. Each file needs its own library alone."""
