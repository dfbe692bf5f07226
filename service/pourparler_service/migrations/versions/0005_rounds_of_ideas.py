"""Rounds of ideas, and their packets."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "round",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("round", sa.LargeBinary(), nullable=False),
        sa.Column("channel_key", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("opens_at", sa.BigInteger(), nullable=False),
        sa.Column("closes_at", sa.BigInteger(), nullable=False),
        sa.Column("places", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["channel_key"], ["channel.key"]),
        sa.PrimaryKeyConstraint("key"),
        sa.UniqueConstraint("round"),
    )
    with op.batch_alter_table("round", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_round_channel_key"), ["channel_key"], unique=False)
        batch_op.create_index(batch_op.f("ix_round_expires_at"), ["expires_at"], unique=False)
    op.create_table(
        "packet",
        sa.Column("round_key", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("body_key", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["round_key"], ["round.key"]),
        sa.PrimaryKeyConstraint("round_key", "digest"),
        sa.UniqueConstraint("body_key"),
    )
