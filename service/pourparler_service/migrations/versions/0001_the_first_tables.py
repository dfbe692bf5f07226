"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "body",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "channel",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("channel", sa.LargeBinary(), nullable=False),
        sa.Column("absence_limit", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.BigInteger(), nullable=False),
        sa.Column("handshake_head", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sa.UniqueConstraint("channel"),
    )
    op.create_table(
        "grant",
        sa.Column("grant_hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("used_mark", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("grant_hash"),
    )
    op.create_table(
        "instance",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("incarnation", sa.LargeBinary(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "vacancy",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "device",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("channel_key", sa.Integer(), nullable=False),
        sa.Column("device", sa.LargeBinary(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("accepted", sa.BigInteger(), nullable=False),
        sa.Column("last_day", sa.Integer(), nullable=False),
        sa.Column("last_mark", sa.LargeBinary(), nullable=True),
        sa.Column("last_receipt", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["channel_key"], ["channel.key"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("key"),
    )
    with op.batch_alter_table("device", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_device_channel_key"), ["channel_key"], unique=False)

    op.create_table(
        "entry",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("channel_key", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("handshake", sa.Boolean(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("delete_hash", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["channel_key"],
            ["channel.key"],
        ),
        sa.PrimaryKeyConstraint("key"),
    )
    with op.batch_alter_table("entry", schema=None) as batch_op:
        batch_op.create_index("entry_expiry", ["expires_at"], unique=False)
        batch_op.create_index("entry_id", ["entry", "channel_key"], unique=True)
        batch_op.create_index("entry_place", ["channel_key", "seq"], unique=True)

    op.create_table(
        "box",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("box", sa.LargeBinary(), nullable=False),
        sa.Column("channel_key", sa.Integer(), nullable=False),
        sa.Column("device_key", sa.Integer(), nullable=True),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("life", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["channel_key"],
            ["channel.key"],
        ),
        sa.ForeignKeyConstraint(["device_key"], ["device.key"], ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("key"),
        sa.UniqueConstraint("box"),
    )
    with op.batch_alter_table("box", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_box_channel_key"), ["channel_key"], unique=False)
        batch_op.create_index(batch_op.f("ix_box_device_key"), ["device_key"], unique=False)
        batch_op.create_index(batch_op.f("ix_box_expires_at"), ["expires_at"], unique=False)

    op.create_table(
        "vote",
        sa.Column("target_key", sa.Integer(), nullable=False),
        sa.Column("voter_key", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["target_key"], ["device.key"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["voter_key"], ["device.key"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("target_key", "voter_key"),
    )
    with op.batch_alter_table("vote", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_vote_voter_key"), ["voter_key"], unique=False)

    op.create_table(
        "slot",
        sa.Column("box_key", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("body_key", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["box_key"],
            ["box.key"],
        ),
        sa.PrimaryKeyConstraint("box_key", "slot"),
        sa.UniqueConstraint("body_key"),
    )
