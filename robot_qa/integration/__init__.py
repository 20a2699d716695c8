"""Where robot teams work: pytest, colcon and launch."""
