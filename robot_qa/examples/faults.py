"""The catalogue of faults of the example robot."""

from __future__ import annotations

FAULTS = {
    'none': 'nothing is wrong',
    # The lidar, the IMU, the odometry and the battery.
    'slow_scan': 'the lidar turns at 6 Hz',
    'fast_scan': 'the lidar turns at 14 Hz',
    'stalled_scan': 'the lidar pauses for 0.7 s every 5 s',
    'jittery_scan': 'the lidar sends up to 60 ms early or late',
    'stale_scan': 'scans carry a stamp that is 0.4 s old',
    'stuck_stamp_scan': 'every tenth scan repeats the stamp of the one before',
    'wrong_frame_scan': 'scans say frame "laser" instead of "lidar_link"',
    'nan_scan': 'one beam of every fifth scan is NaN',
    'close_scan': 'one beam of every fifth scan reads 0.01 m',
    'far_scan': 'one beam of every fifth scan reads 99 m',
    'cropped_scan': 'every fifth scan has 180 beams',
    'loose_imu': 'the orientation of the IMU is no unit quaternion',
    'biased_imu': 'the accelerometer reads 2 m/s^2 too much',
    'lossy_odom': 'the link of the odometry loses one message a second',
    'runaway_odom': 'the odometry jumps to 500 m',
    'misnamed_odom': 'odometry is for "base" instead of "base_link"',
    'sparse_battery': 'the battery reports every other second',
    'unknown_battery': 'the battery does not know whether it charges',
    # The graph.
    'doubled_node': 'a second node calls itself /robot',
    'lost_driver': 'the lidar driver leaves the graph 2 s after the first call of /reset',
    'restarted_driver': 'the lidar driver is gone for 2 s, 2 s after the first call of /reset',
    'inactive_driver': 'the lidar driver deactivates itself after 4 s',
    'picky_viewer': 'a viewer wants the odometry reliable, which it is not',
    'speeding': 'the parameter max_speed is 2.0',
    # Services and actions.
    'slow_service': '/reset answers after 0.5 s',
    'failing_service': '/reset answers that it did not succeed',
    'silent_service': '/reset never answers',
    'rejecting_action': '/dock accepts no goal',
    'aborting_action': '/dock aborts every goal',
    # Transforms, diagnostics, logs and behaviour.
    'late_tf': 'the transform of base_link pauses for 0.7 s every 3 s',
    'second_parent': 'map also claims to be the parent of base_link',
    'shifted_lidar': 'lidar_link is mounted 0.5 m too high',
    'sick_diagnostics': 'the motor reports an error',
    'angry_log': 'the robot logs an error every second',
    'late_brake': 'the robot brakes 1 s after an emergency stop',
}
