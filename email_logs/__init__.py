"""Every outbound mail of a workspace: sent, logged in a table per email provider, followed to its delivery."""
