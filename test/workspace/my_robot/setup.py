from setuptools import find_packages, setup

PACKAGE = 'my_robot'

setup(
    name=PACKAGE,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml']),
    ],
    install_requires=['setuptools'],
    extras_require={'test': ['pytest']},
    zip_safe=True,
    maintainer='robot_qa maintainers',
    maintainer_email='maintainers@robot-qa.example',
    description='A robot that patrols',
    license='Apache-2.0',
    entry_points={'console_scripts': ['patrol = my_robot.patrol:main']},
)
