"""Connections of users to providers: OAuth, tokens, sync runs and cursors; later the workspace integrations."""
