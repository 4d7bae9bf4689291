"""Runs, folds and snapshots: answers that stream from a model, what was missed of them, and channels with a state."""
