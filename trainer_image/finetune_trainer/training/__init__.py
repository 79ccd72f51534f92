"""The training itself, with the trainers of the library."""
