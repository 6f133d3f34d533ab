"""Syncret: external secrets in Kubernetes, and everything that follows from their rotation."""

__version__ = "0.1.0"
