"""Tests of the email logs app, one file per module."""
