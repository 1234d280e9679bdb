"""What Google's APIs have in common, for mail and calendars alike; no integration type of its own.

`errors` says what refusals mean that every API knows, `answers` reads the JSON without trusting it.
"""
