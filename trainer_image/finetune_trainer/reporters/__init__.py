"""Who is told how far a run is: a person, a log, the operator."""
