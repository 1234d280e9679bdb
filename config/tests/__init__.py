"""Tests of the settings, the probes and the routes."""
