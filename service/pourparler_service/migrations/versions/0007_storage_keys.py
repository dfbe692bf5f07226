"""Storage keys: under which of them a body lies. What is there already stays as it is.

On PostgreSQL, which no earlier version served, bodies move into partitions by the time of their end (0026); what an
earlier migration put into the table becomes the first of them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0005"
branch_labels = None
depends_on = None

_PARTITIONED = (
    "ALTER TABLE slot ALTER body_key TYPE BIGINT",
    "ALTER TABLE packet ALTER body_key TYPE BIGINT",
    "ALTER TABLE entry ALTER key TYPE BIGINT, ALTER key DROP DEFAULT",
    "ALTER TABLE body RENAME TO body_0",
    "ALTER TABLE body_0 RENAME CONSTRAINT body_pkey TO body_0_pkey",
    "ALTER TABLE body_0 ALTER key TYPE BIGINT, ALTER key DROP DEFAULT, ALTER bytes SET STORAGE EXTERNAL",
    "CREATE TABLE body (key BIGINT PRIMARY KEY, bytes BYTEA NOT NULL) PARTITION BY RANGE (key)",
    "ALTER TABLE body ALTER bytes SET STORAGE EXTERNAL",
    "ALTER TABLE body ATTACH PARTITION body_0 FOR VALUES FROM (0) TO (1099511627776)",  # 2**40
    "DROP SEQUENCE entry_key_seq, body_key_seq",
    "DROP TABLE vacancy",
    "CREATE SEQUENCE place AS BIGINT INCREMENT BY 1000 MINVALUE 0 START 0",
    "CREATE TABLE chunk (attachment_key INTEGER NOT NULL REFERENCES attachment ON DELETE CASCADE,"
    " number INTEGER NOT NULL, digest BYTEA NOT NULL, body_key BIGINT NOT NULL,"
    " PRIMARY KEY (attachment_key, number))",
)


def upgrade() -> None:
    """Forward."""
    for table in ("entry", "attachment", "round"):
        op.add_column(table, sa.Column("key_end", sa.BigInteger(), nullable=True))
    op.add_column("channel", sa.Column("version", sa.BigInteger(), nullable=False, server_default="0"))
    if op.get_bind().dialect.name == "postgresql":
        for statement in _PARTITIONED:
            op.execute(statement)
