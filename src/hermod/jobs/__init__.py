"""Use cases: what a client can do with jobs. They know the store, not HTTP and not the worker."""
