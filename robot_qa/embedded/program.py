"""The simulator as a program: ``ros2 run robot_qa simulator``, ``python -m ...embedded.program``.

MuJoCo is in no ROS distribution, so that rosdep cannot install it: this says how to.
"""

from __future__ import annotations

import sys

ERROR = 4
FROM_PYPI = ('mujoco', 'PIL', 'trimesh', 'collada')
INSTALL = 'python3 -m pip install mujoco mujoco-core pillow trimesh pycollada'
FROM_ROS = 'source a ROS workspace that has it, or make venv in a checkout of robot_qa'


def main() -> int:
    """Simulate; 4, and what to do about it, where a module is missing."""
    try:
        from robot_qa.embedded import node
    except ModuleNotFoundError as error:
        missing = str(error.name).partition('.')[0]
        hint = INSTALL if missing in FROM_PYPI else FROM_ROS
        print(f'the simulator needs {missing}: {hint}', file=sys.stderr)
        return ERROR
    return node.main()


def console() -> None:
    """Run as an executable of the package."""
    sys.exit(main())


if __name__ == '__main__':
    console()
