"""Configuration in files: read, compared with what is in force, and applied; and written back."""
