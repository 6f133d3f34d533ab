"""Syncret: external secrets in Kubernetes, and everything that follows from their rotation."""
