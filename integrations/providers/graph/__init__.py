"""What every call of Microsoft Graph has in common, for mail and calendars alike; no integration type of its own.

`api` makes the calls, `batch` packs up to 20 of them into one, `errors` says what refusals mean, `answers` reads the
JSON without trusting it. Requests leave through `core.http` only.
"""
