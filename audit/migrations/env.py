"""Alembic environment: run on the connection that the caller hands over, never on an address of its own."""

from __future__ import annotations

from alembic import context

from audit.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
