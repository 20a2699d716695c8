"""The simulator that a run starts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from robot_qa.spec.parts import Part
from robot_qa.spec.values import RelativePath, Whole, check_file


class Simulator(Part):
    """The simulator that a run starts, and stops after it."""

    backend: Literal['embedded']
    """Which one: embedded, MuJoCo behind Gazebo's worlds and ROS interfaces."""
    world: RelativePath
    """The SDF world, such as worlds/warehouse.sdf."""
    seed: Whole = 0
    """From which all its noise is drawn; 0 if left out."""
    real_time_factor: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """How fast simulated time runs; 0 is as fast as it can, 1 if left out."""
    render: Literal['auto', 'gl', 'rays'] = 'auto'
    """How cameras see: with OpenGL where there is EGL (auto), or by casting rays."""

    @field_validator('world')
    @classmethod
    def _world_is_there(cls, world: str, info: ValidationInfo) -> str:
        return check_file(world, info, folder=False)
