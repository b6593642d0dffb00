"""Every table is declared, and migrations lead to the metadata's schema."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

import audit.migrations
from audit import postgres_schema, store_format, tables


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(audit.migrations.__path__[0])).replace("%", "%%"))
    return config


def test_every_table_is_declared_and_has_its_own_kind() -> None:
    with tables.memory_engine().connect() as connection:
        found = set(sa.inspect(connection).get_table_names())
    assert found == set(tables.DECLARATIONS) == set(tables.METADATA.tables)
    assert tables.TableKind.VOLATILE not in tables.DECLARATIONS.values()
    assert [name for name, kind in tables.DECLARATIONS.items() if kind is tables.TableKind.TRAIL] == ["entries"]


def test_the_migrated_schema_equals_the_metadata() -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    config = _config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    with engine.connect() as connection:
        migrated = {
            (row[0], row[1]): store_format.normal_sql(row[2]) for row in connection.exec_driver_sql(store_format.SQLITE_SCHEMA_QUERY)
        }
        revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
    engine.dispose()
    assert migrated == tables.expected_schema()
    assert revision == store_format.REVISION == ScriptDirectory.from_config(config).get_current_head()


def test_the_migrated_schema_equals_the_metadata_in_postgresql(postgres_url: str) -> None:
    """Three ways to the same catalogue: the migrations, the metadata, and what a check expects."""
    engine, config = sa.create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://")), _config()
    found = []
    for schema in ("migrated", "made"):
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
            connection.exec_driver_sql(f"SET search_path TO {schema}")
            if schema == "made":
                tables.create_schema(connection)
            else:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
            rows = connection.exec_driver_sql(postgres_schema.SCHEMA_QUERY)
            found.append({(kind, name): store_format.normal_sql(text) for kind, name, text in rows})
            assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one() == store_format.REVISION
    engine.dispose()
    assert found[0] == found[1] == postgres_schema.expected_schema()
