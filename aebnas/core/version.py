"""The version of the package, which environment files and model cards state."""

__version__ = "0.1.0"
