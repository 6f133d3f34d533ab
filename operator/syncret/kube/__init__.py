"""Our own thin client of the Kubernetes API."""
