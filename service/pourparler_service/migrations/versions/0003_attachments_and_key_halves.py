"""Attachments, and which store of key halves goes with the database."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    op.add_column("instance", sa.Column("halves", sa.LargeBinary(), nullable=True))
    op.create_table(
        "attachment",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("attachment", sa.LargeBinary(), nullable=False),
        sa.Column("channel_key", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("life", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("delete_hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["channel_key"], ["channel.key"]),
        sa.PrimaryKeyConstraint("key"),
        sa.UniqueConstraint("attachment"),
    )
    with op.batch_alter_table("attachment", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_attachment_channel_key"), ["channel_key"], unique=False)
        batch_op.create_index(batch_op.f("ix_attachment_expires_at"), ["expires_at"], unique=False)
