"""Request types: what each one accepts and refuses, one file per type, listed in `registry`."""
