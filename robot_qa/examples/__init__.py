"""Small ROS nodes to try robot_qa on."""
