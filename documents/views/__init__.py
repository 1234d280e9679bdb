"""The document API (CONTRACT 4, Documents)."""
