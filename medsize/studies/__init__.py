"""Studies: many runs of a bundle, side by side, that survive being stopped."""
