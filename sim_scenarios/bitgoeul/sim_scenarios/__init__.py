"""Gwangju sites as files, their network builder and their demand."""
