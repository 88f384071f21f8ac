"""Claim jobs, make their upstream calls, keep the leases, tidy up."""
