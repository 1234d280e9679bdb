"""How outbound mail and its logs look on the wire."""
