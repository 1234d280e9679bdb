"""How the console writes dates and times; named in settings."""
