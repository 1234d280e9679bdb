"""Tests of the workspaces app, mirroring its modules."""
