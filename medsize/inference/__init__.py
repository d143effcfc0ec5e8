"""Segment scans, and locate structures in them, with the network of a run."""
