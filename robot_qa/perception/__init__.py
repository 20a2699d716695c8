"""Accuracy of perception models; knows neither ROS nor time."""
