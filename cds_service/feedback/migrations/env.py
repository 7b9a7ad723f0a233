"""What Alembic runs to migrate: `database._migrate` hands over the connection and its transaction."""

from alembic import context

from cds_service.feedback.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
