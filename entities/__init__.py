"""CRM entities that mail and events are linked to, and the rules that link them."""
