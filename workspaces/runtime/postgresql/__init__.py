"""Django's PostgreSQL backend, which starts the embedded server where no DATABASE_URL is given."""
