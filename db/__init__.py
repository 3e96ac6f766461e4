"""The database: connection, embedded server, schema, store."""
