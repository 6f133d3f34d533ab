"""Files as a store: for developing on one's own machine, and where no store can be reached."""
