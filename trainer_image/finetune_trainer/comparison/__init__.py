"""Base and tuned model side by side: gains, their intervals, gates."""
