"""The management API: each file has the routes of one resource (wire-contract 10.3)."""
