"""A CDS Hooks service that watches the blood tests of people on hormone therapy."""

__version__ = "0.1.0"
