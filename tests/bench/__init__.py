"""Measurements; nothing here is a timed test."""
