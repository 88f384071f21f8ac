"""Hermod: a durable AI gateway for asynchronous inference."""

__version__ = "0.2.0"
