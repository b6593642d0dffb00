"""The bench: virtual devices behind real ports, and the qualification scenarios."""
