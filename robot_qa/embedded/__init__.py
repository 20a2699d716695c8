"""Gazebo's worlds on a machine without Gazebo: SDF on MuJoCo, behind the same ROS interfaces."""
