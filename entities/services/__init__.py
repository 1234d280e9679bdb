"""What crosses a boundary: keyword-only, the actor as `by`, one transaction, one audit row."""
