"""The compiled loops of a sweep, without torch. `docs/architecture.md` says what each file does."""
