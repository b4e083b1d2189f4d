"""Pruners and quotas: rankings of connections, and what they keep at a target."""
