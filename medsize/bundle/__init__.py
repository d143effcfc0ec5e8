"""Bundles: their commands, their run folders, and their export."""
