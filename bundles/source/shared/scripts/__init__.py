"""What inference needs besides MONAI."""
