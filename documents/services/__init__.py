"""What is done with documents. Rows first, then the store: what a store did not do is a row too (`removals`)."""
