"""What no single app owns: architecture, the runtime, journeys."""
