"""The API's one shape: errors, request ids, names on the wire, lists, limits. Used by every app."""
