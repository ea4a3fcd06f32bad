"""Import files: upload, progress, the way back."""
