"""Mail: providers, parsing, threads, search, the sync engine's mail side and the email API."""
