"""Backends: one port, several cabinets."""
