"""Who may do what: users, workspaces, memberships, API tokens, the audit trail, and what every API view stands on."""
