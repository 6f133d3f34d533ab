"""Secrets of another namespace or another cluster as a store."""
