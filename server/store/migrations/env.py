"""What Alembic runs. The connection, with a transaction begun, comes from `server.store.migrate`."""

from alembic import context

from server.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
