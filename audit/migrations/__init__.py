"""Schema history of the trail stores (Alembic)."""
