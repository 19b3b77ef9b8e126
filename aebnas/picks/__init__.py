"""What can be done with a pick of a run, a file each."""
