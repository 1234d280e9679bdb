"""What every app stands on: errors, the door out, sealing, leases, the API's shape. No tables, no import of ours."""
