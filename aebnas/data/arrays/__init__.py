"""Arrays in .npz files: whole sets with their labels, and labelled images for a network that exists."""
