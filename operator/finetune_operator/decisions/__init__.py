"""Decisions, without I/O or a clock: what was observed goes in, what to do comes out; `plan` is the door."""
