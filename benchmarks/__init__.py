"""Measurements of cost and speed, each with a baseline in the same run."""
