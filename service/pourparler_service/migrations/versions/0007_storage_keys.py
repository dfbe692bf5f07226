"""Under which storage key an entry's body and an attachment's chunks lie. What is there already stays as it is."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    for table in ("entry", "attachment"):
        op.add_column(table, sa.Column("key_end", sa.BigInteger(), nullable=True))
