"""The simulator that a run starts, or that it finds running."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from robot_qa.spec.parts import Part, wrong
from robot_qa.spec.values import RelativePath, Whole, check_file

STARTED = ('embedded', 'gazebo')


class Simulator(Part):
    """The simulator that a run starts, and stops after it; or one that runs already.

    What a backend has no use for is left aside, so that one spec fits all of them.
    """

    backend: Literal['embedded', 'gazebo', 'standard', 'none']
    """Which one: embedded (MuJoCo), gazebo, standard (simulation_interfaces), none (hardware)."""
    world: RelativePath | None = None
    """The SDF world to start, such as worlds/warehouse.sdf; without it gazebo has to run."""
    seed: Whole = 0
    """From which all its noise is drawn; 0 if left out."""
    real_time_factor: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """How fast simulated time runs; 0 is as fast as it can, 1 if left out."""
    render: Literal['auto', 'gl', 'rays'] = 'auto'
    """How cameras of embedded see: with OpenGL where there is EGL (auto), or by casting rays."""
    bridge: Literal['auto', 'none'] | RelativePath = 'auto'
    """What ros_gz_bridge brings to ROS: what the spec watches (auto), a YAML file's list, none."""

    @property
    def started(self) -> bool:
        """Whether the run starts it."""
        return self.backend in STARTED and self.world is not None

    @property
    def bridged(self) -> bool:
        """Whether the run starts a bridge between it and ROS."""
        return self.backend == 'gazebo' and self.started and self.bridge != 'none'

    @property
    def simulates(self) -> bool:
        """Whether there is a simulated time."""
        return self.backend != 'none'

    @field_validator('world')
    @classmethod
    def _world_is_there(cls, world: str, info: ValidationInfo) -> str:
        return check_file(world, info, folder=False)

    @field_validator('bridge')
    @classmethod
    def _bridge_is_there(cls, bridge: str, info: ValidationInfo) -> str:
        return bridge if bridge in ('auto', 'none') else check_file(bridge, info, folder=False)

    @model_validator(mode='after')
    def _embedded_has_a_world(self) -> Simulator:
        if self.backend == 'embedded' and self.world is None:
            raise wrong('embedded needs a world, such as worlds/warehouse.sdf')
        return self
