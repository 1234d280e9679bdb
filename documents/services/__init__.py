"""What a service of documents promises is in its module."""
