"""Sets of image files: what lies in a folder or a CSV file, which images it is, and reading them."""
