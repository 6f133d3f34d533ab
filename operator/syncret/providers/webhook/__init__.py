"""A JSON API over HTTP as a store."""
