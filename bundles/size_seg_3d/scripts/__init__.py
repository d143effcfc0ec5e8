# Written by make bundles from bundles/source/shared/scripts/__init__.py.
"""What inference needs besides MONAI."""
