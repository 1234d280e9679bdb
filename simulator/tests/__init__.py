"""Tests of the simulator. They start the real process and speak HTTP to it, as the hub does."""
