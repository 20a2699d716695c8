"""A test in code: brought up by the test, in a ROS domain of its own."""


def test_the_patrol_drives(robot, monitor):
    robot.start('patrol', 'python3 -m my_robot.patrol')
    odometry = monitor('/odom', over='1 s')
    odometry.field('twist.twist.linear.x', min=0.4, max=0.6)
    robot.wait_for(services=['/patrol/status'])
