"""What runs the product on one machine: keys, the embedded PostgreSQL, the supervisor, the doctor.

Used by `config.settings`, `manage.py up` and `manage.py doctor`. `keys`, `embedded` and `processes` are read while the
settings load, so they know nothing of Django.
"""
