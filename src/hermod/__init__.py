"""Hermod: a durable AI gateway for asynchronous inference."""

__version__ = "0.5.0"
