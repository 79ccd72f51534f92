"""A spec on this machine: read, checked or run, and shown to a person."""
