"""What is decided, and how it is carried out, for one ExternalSecret."""
