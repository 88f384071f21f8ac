"""One upstream call, from a stored request to an outcome."""
