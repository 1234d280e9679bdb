"""Work that crosses a boundary: the database, a provider, a worker."""
