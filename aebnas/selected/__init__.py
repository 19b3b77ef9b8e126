"""What is done with a selected model, a file each."""
