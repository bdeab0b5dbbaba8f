"""The tables, as the newest migration leaves them. `docs/storage.md` explains each column.

An object is anything that outlasts its request: a response, a conversation, a chat completion, a file, a batch. Its
lists of items (messages, events, lines) lie beside it, so that they can be read a page at a time.
"""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()
# SQLite counts up by itself only in a column of the type INTEGER, which holds 64 bits there.
Number = BigInteger().with_variant(Integer(), "sqlite")

objects = Table(
    "objects",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),  # the order in which they were made
    Column("id", String, nullable=False, unique=True),
    Column("kind", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),  # this and the next: unix seconds
    Column("expires_at", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes of the body and of all items
    Column("active", Boolean, nullable=False),
    Column("lease_holder", String, nullable=True),  # the process that works on it
    Column("lease_until", BigInteger, nullable=True),  # unix milliseconds
    Column("model", String, nullable=False),
    Column("body", Text, nullable=False),  # JSON
    sqlite_autoincrement=True,  # numbers are not used again
)
Index("objects_by_owner", objects.c.kind, objects.c.owner, objects.c.number)
Index("objects_by_expiry", objects.c.expires_at)

labels = Table(
    "labels",
    metadata,
    Column("number", Number, ForeignKey("objects.number", ondelete="CASCADE"), primary_key=True),
    Column("digest", String, primary_key=True),  # of a key and a value of the object's metadata
)
Index("labels_by_digest", labels.c.digest)

items = Table(
    "items",
    metadata,
    Column("number", Number, ForeignKey("objects.number", ondelete="CASCADE"), primary_key=True),
    Column("list", String, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("id", String, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes of the body
    Column("body", Text, nullable=False),  # JSON
)
Index("items_by_id", items.c.number, items.c.list, items.c.id)
