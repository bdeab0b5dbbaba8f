"""Objects, their labels and their items."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "objects",
        sa.Column("number", Number, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("lease_holder", sa.String, nullable=True),
        sa.Column("lease_until", sa.BigInteger, nullable=True),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("objects_by_owner", "objects", ["kind", "owner", "number"])
    op.create_index("objects_by_expiry", "objects", ["expires_at"])
    op.create_table(
        "labels",
        sa.Column("number", Number, sa.ForeignKey("objects.number", ondelete="CASCADE"), primary_key=True),
        sa.Column("digest", sa.String, primary_key=True),
    )
    op.create_index("labels_by_digest", "labels", ["digest"])
    op.create_table(
        "items",
        sa.Column("number", Number, sa.ForeignKey("objects.number", ondelete="CASCADE"), primary_key=True),
        sa.Column("list", sa.String, primary_key=True),
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("items_by_id", "items", ["number", "list", "id"])
