"""What the mail app does: the sync engine's mail side, writing, reading, local changes and sending."""
