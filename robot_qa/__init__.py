"""Declare what must hold on a robot, watch it, and get a verdict that can be trusted."""

__version__ = '0.1.0'
