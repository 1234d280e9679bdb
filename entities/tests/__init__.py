"""Tests of the entities app."""
