"""A robot that patrols: the package of somebody who uses robot_qa."""
