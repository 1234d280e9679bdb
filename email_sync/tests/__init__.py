"""Tests of the mail app, one file per module."""
