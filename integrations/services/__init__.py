"""What the integrations app does: consent flows, tokens, connections, sync runs and their schedule."""
