"""A spec and a space for a set of images, to start from: `aebnas init`."""
