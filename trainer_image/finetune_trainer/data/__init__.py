"""Files become rows to train on and sets to measure on, every cell looked at once."""
