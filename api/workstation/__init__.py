"""Workstation pages: thin, over the same services as the routes."""
