"""The version, which the build reads and files of potentials carry."""

__version__ = "0.1.0"
