"""The API of outbound mail and its logs (CONTRACT 5)."""
