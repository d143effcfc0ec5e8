"""Bundles to share: export, model card, licence of the weights, and contributions to the model zoo."""
