"""From samples to measurements."""
