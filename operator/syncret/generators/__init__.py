"""What makes credentials: the same shape as providers, which read them."""
