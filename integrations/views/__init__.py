"""The API of connections (a user's accounts) and of integrations (a workspace's), a module each."""
