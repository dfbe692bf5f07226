"""How many bytes live in each channel."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_COUNT = """
UPDATE channel SET stored =
    (SELECT coalesce(sum(length(body.bytes)), 0) FROM entry JOIN body ON body.key = entry.key
      WHERE entry.channel_key = channel.key)
  + (SELECT coalesce(sum(length(body.bytes)), 0) FROM box JOIN slot ON slot.box_key = box.key
      JOIN body ON body.key = slot.body_key WHERE box.channel_key = channel.key)
"""


def upgrade() -> None:
    """Forward."""
    op.add_column("channel", sa.Column("stored", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(_COUNT)
