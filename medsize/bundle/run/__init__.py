"""Runs of a bundle: their commands, their folders, and what they record."""
