"""What the schema of a trail store holds in PostgreSQL: asked of the catalogue, and worked out from the metadata.

The catalogue says more than the statements that made it: a table that is not logged, a trigger that was turned off, a rule, a default.
Needs no driver.
"""

from __future__ import annotations

from sqlalchemy import Column, PrimaryKeyConstraint, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect

from audit.tables import METADATA, POSTGRES_FUNCTIONS, POSTGRES_TRIGGERS

_HERE = "(SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())"
_BARE = "replace({}, quote_ident(current_schema()) || '.', '')"

SCHEMA_QUERY = f"""SELECT 'table', c.relname::text, c.relkind::text || ' ' || c.relpersistence::text
 || CASE WHEN c.relrowsecurity OR c.relforcerowsecurity THEN ' row security' ELSE '' END || CASE WHEN c.relhassubclass OR c.relispartition
 THEN ' inherited' ELSE '' END || ' (' || coalesce((SELECT string_agg(a.attname::text || ' ' || format_type(a.atttypid, a.atttypmod)
 || CASE WHEN l.collname = 'C' THEN ' C' WHEN l.collname = 'default' OR l.collname IS NULL THEN '' ELSE ' ' || l.collname::text END
 || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END || CASE WHEN a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> ''
 THEN ' default' ELSE '' END, ', ' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_collation l
 ON l.oid = a.attcollation WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '') || ')'
 FROM pg_catalog.pg_class c WHERE c.relnamespace = {_HERE} AND c.relkind NOT IN ('i', 'I', 't')
UNION ALL SELECT 'index', c.relname::text, {_BARE.format("pg_get_indexdef(c.oid)")} || CASE WHEN i.indisvalid THEN '' ELSE ' invalid' END
 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid WHERE c.relnamespace = {_HERE}
UNION ALL SELECT 'constraint', r.relname::text || '.' || k.conname::text, pg_get_constraintdef(k.oid)
 FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class r ON r.oid = k.conrelid WHERE r.relnamespace = {_HERE}
 AND k.contype IN ('c', 'f', 'p', 'u', 'x')
UNION ALL SELECT 'trigger', g.tgname::text, {_BARE.format("pg_get_triggerdef(g.oid)")} || ' ' || g.tgenabled::text
 FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_class r ON r.oid = g.tgrelid WHERE r.relnamespace = {_HERE} AND NOT g.tgisinternal
UNION ALL SELECT 'rule', w.rulename::text || ' on ' || r.relname::text, {_BARE.format("pg_get_ruledef(w.oid)")}
 FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_class r ON r.oid = w.ev_class WHERE r.relnamespace = {_HERE} AND r.relkind <> 'v'
UNION ALL SELECT 'function', p.proname::text, l.lanname::text || ' ' || p.prosrc || coalesce(' ' || p.proconfig::text, '')
 || CASE WHEN p.prosecdef THEN ' security definer' ELSE '' END
 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang WHERE p.pronamespace = {_HERE}"""  # noqa: S608
"""(kind, name, definition) of everything in the session's schema."""

_TYPES = {"BIGINT": "bigint", "BYTEA": "bytea", 'TEXT COLLATE "C"': "text C", "VARCHAR(32)": "character varying(32)"}
_DIALECT: type[Dialect] = postgresql.dialect


def _column(column: Column[object]) -> str:
    return f"{column.name} {_TYPES[column.type.compile(_DIALECT())]}{'' if column.nullable else ' NOT NULL'}"


def _key_name(table: Table) -> str:
    key = table.primary_key
    return str(key.name) if isinstance(key, PrimaryKeyConstraint) and key.name else f"{table.name}_pkey"


def expected_schema() -> dict[tuple[str, str], str]:
    """Return {(kind, name): definition} of everything that the schema of a store must hold, and nothing else."""
    found: dict[tuple[str, str], str] = {}
    for table in METADATA.sorted_tables:
        found["table", table.name] = f"r p ({', '.join(_column(column) for column in table.columns)})"
        keys = ", ".join(column.name for column in table.primary_key.columns)
        found["index", _key_name(table)] = f"CREATE UNIQUE INDEX {_key_name(table)} ON {table.name} USING btree ({keys})"
        found["constraint", f"{table.name}.{_key_name(table)}"] = f"PRIMARY KEY ({keys})"
        for index in table.indexes:
            columns = ", ".join(column.name for column in index.columns)
            found["index", str(index.name)] = f"CREATE INDEX {index.name} ON {table.name} USING btree ({columns})"
    for statement in POSTGRES_TRIGGERS:
        if statement.startswith("CREATE TRIGGER"):
            found["trigger", statement.split()[2]] = f"{statement} A"
    for name, statement in POSTGRES_FUNCTIONS.items():
        found["function", name] = " ".join(f"plpgsql {statement.split('$$')[1]}".split())
    return found
