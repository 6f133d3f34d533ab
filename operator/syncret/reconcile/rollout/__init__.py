"""Rolling restarts: who consumes a Secret, what it held, and the patch that restarts."""
