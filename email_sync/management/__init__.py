"""Commands that need the whole product."""
