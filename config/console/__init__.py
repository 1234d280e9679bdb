"""The console's frame: its site, dashboard, set-up pages, navigation, sign-in and the choice of a workspace.

It lies in config, the one layer that may look into every app; the pages of rows are each app's own `admin`.
"""
