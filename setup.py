"""Installation by colcon, as any ament_python package, and by pip where there is no workspace."""

from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = 'robot_qa'
# ROS itself where no workspace provides it: a real rclpy and a real Fast DDS as wheels.
INTERFACES = ['std', 'sensor', 'geometry', 'nav', 'diagnostic']


def wheels(rclpy: str, interfaces: str) -> list[str]:
    """Return the wheels of one ROS distribution."""
    return [
        f'ros-rclpy[fastrtps]=={rclpy}', f'ros-std-srvs=={interfaces}',
        *(f'ros-{name}-msgs=={interfaces}' for name in INTERFACES),
    ]


def shared(folder: str) -> list[tuple[str, list[str]]]:
    """Return where the files of a folder are installed, below the package's share."""
    folders = [path for path in Path(folder).rglob('*') if path.is_dir()]
    return [
        (f'share/{PACKAGE}/{path}', [str(file) for file in sorted(path.iterdir())
                                     if file.is_file() and file.suffix != '.py'])
        for path in [Path(folder), *sorted(folders)] if path.name != '__pycache__'
    ]


setup(
    name=PACKAGE,
    version='0.1.0',
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={PACKAGE: ['py.typed', 'template.qa.yaml']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml']),
        (f'share/{PACKAGE}/config', glob('config/*.yaml')),
        (f'share/{PACKAGE}/launch', glob('launch/*.launch.py')),
        (f'share/{PACKAGE}/models', glob('models/*.onnx')),
        *shared('worlds'), *shared('interfaces'),
    ],
    python_requires='>=3.10',
    install_requires=[
        'lz4', 'mcap', 'numpy', 'opencv-python-headless', 'psutil', 'pydantic>=2', 'PyYAML',
        'rich', 'rosbags>=0.10', 'scipy', 'zstandard',
    ],
    extras_require={
        'ros': wheels('9.1.*', '5.5.*'),
        'ros-jazzy': wheels('7.1.*', '5.3.*'),
        # MuJoCo and its core belong together; Python 3.10 has the last one that it can run.
        'sim': [
            'mujoco==4.0.0; python_version>="3.11"',
            'mujoco-core==4.0.0; python_version>="3.11"', 'mujoco==3.17.0; python_version<"3.11"',
            'pillow', 'pycollada', 'trimesh',
        ],
        'detector': ['onnxruntime'],  # without it OpenCV runs the example's models
        'train': ['torch==2.13.0', 'onnx', 'onnxruntime'],
        'test': [
            # What the accuracy of perception models is checked against.
            *(f'{oracle}; python_version<"3.14"'
              for oracle in ('evo', 'pycocotools', 'scikit-learn')),
            'hypothesis', 'jsonschema', 'mypy', 'pytest', 'pytest-xdist',
            'rtamt; python_version<"3.13"',
            'ruff', 'scipy-stubs', 'types-PyYAML', 'types-jsonschema', 'types-psutil',
        ],
    },
    zip_safe=True,
    author='robot_qa maintainers',
    maintainer='robot_qa maintainers',
    maintainer_email='maintainers@robot-qa.example',
    description='Declares what must hold on a robot, watches it, and gives a verdict.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'robot_qa = robot_qa.cli:console',
            # ros2 run robot_qa ...
            'simulator = robot_qa.embedded.program:console',
            'monitor = robot_qa.integration.nodes:monitor',
            'scenario = robot_qa.integration.nodes:scenario',
            'relay = robot_qa.scenario.relay:console',
            'timekeeper = robot_qa.probes.time_service:console',
            'detector = robot_qa.examples.detector:console',
        ],
        'pytest11': ['robot_qa = robot_qa.integration.pytest_plugin'],
        'robot_qa.monitors': [
            'timing = robot_qa.monitors.topics:timing_monitors',
            'validity = robot_qa.monitors.topics:validity_monitors',
            'rules = robot_qa.monitors.temporal:temporal_monitors',
            'frames = robot_qa.monitors.frames:frame_monitors',
            'logs = robot_qa.monitors.logs:log_monitors',
            'graph = robot_qa.monitors.graph:graph_monitors',
            'nodes = robot_qa.monitors.nodes:node_monitors',
            'services = robot_qa.monitors.services:service_monitors',
            'actions = robot_qa.monitors.actions:action_monitors',
            'accuracy = robot_qa.monitors.accuracy:accuracy_monitors',
            'resources = robot_qa.monitors.resources:resource_monitors',
            'stages = robot_qa.monitors.stages:stage_monitors',
            'paths = robot_qa.monitors.paths:path_monitors',
        ],
        'robot_qa.simulators': [
            'embedded = robot_qa.simulators.standard:StandardSimulator',
            'standard = robot_qa.simulators.standard:StandardSimulator',
            'gazebo = robot_qa.simulators.gazebo:GazeboSimulator',
            'none = robot_qa.simulators.none:NoSimulator',
        ],
    },
)
