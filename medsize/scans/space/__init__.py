"""Scans in space: the grid of their voxels, its place and its axes."""
