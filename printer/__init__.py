"""One cell runs one printer."""
