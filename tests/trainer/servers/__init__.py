"""Servers that sources are read from and models published to, each the real program, on this machine."""
