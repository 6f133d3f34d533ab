"""Records parsed from the bodies of custom resources and of the objects we watch."""
