"""The names of SDF's elements: which are read, which have no effect here, which are unknown.

From the specification of SDF 1.6 to 1.11, http://sdformat.org/spec. ``KNOWN`` are names that are
read, or that need no word (editor hints, tuning of other physics engines); ``IGNORED`` are those
whose absence a user may notice.
"""

from __future__ import annotations

from robot_qa.embedded.sdf_reader import Reader
from robot_qa.embedded.sdf_xml import Element
from robot_qa.errors import did_you_mean

_INCLUDE = 'uri name static namespace pose plugin placement_frame'
_AXES = 'x y z'
_MAPS = (
    'albedo_map roughness_map roughness metalness_map metalness environment_map emissive_map '
    'ambient_occlusion_map normal_map light_map specular_map glossiness_map glossiness'
)
_DYNAMICS = 'damping friction spring_reference spring_stiffness'
_LIMIT = 'lower upper effort velocity stiffness dissipation'
_AXIS = 'xyz dynamics limit use_parent_model_frame initial_position mimic'

KNOWN: dict[str, str] = {
    'sdf': 'world model light actor',
    'world': 'include gravity magnetic_field wind atmosphere gui physics scene light frame joint '
    'model plugin spherical_coordinates audio actor road population state',
    'wind': 'linear_velocity',
    'include': _INCLUDE,
    'model': 'static self_collide allow_auto_disable frame pose link joint plugin include model '
    'enable_wind gripper',
    'frame': 'pose',
    'link': 'gravity enable_wind self_collide kinematic must_be_base_link velocity_decay pose '
    'inertial collision visual sensor projector audio_sink audio_source battery light plugin '
    'particle_emitter',
    'inertial': 'mass density auto_inertia_params pose inertia fluid_added_mass',
    'inertia': 'ixx ixy ixz iyy iyz izz',
    'collision': 'laser_retro max_contacts density auto_inertia_params pose geometry surface',
    'visual': 'cast_shadows laser_retro transparency visibility_flags meta pose material geometry '
    'plugin',
    'geometry': 'empty box capsule cone cylinder ellipsoid heightmap image mesh plane polyline '
    'sphere',
    'box': 'size',
    'capsule': 'radius length',
    'cylinder': 'radius length',
    'ellipsoid': 'radii',
    'sphere': 'radius',
    'plane': 'normal size',
    'mesh': 'uri submesh scale convex_decomposition',
    'submesh': 'name center',
    'material': 'script shader render_order lighting ambient diffuse specular shininess emissive '
    'double_sided pbr',
    'pbr': 'metal specular',
    'metal': _MAPS,
    'pbr/specular': _MAPS,
    'surface': 'bounce friction contact soft_contact',
    'bounce': 'restitution_coefficient threshold',
    'friction': 'torsional ode bullet',
    'friction/ode': 'mu mu2 fdir1 slip1 slip2',
    'torsional': 'coefficient use_patch_radius patch_radius surface_radius ode',
    'surface/contact': 'collide_without_contact collide_without_contact_bitmask collide_bitmask '
    'category_bitmask poissons_ratio elastic_modulus ode bullet',
    'joint': 'parent child gearbox_ratio gearbox_reference_body thread_pitch screw_thread_pitch '
    'axis axis2 physics pose sensor',
    'axis': _AXIS,
    'axis2': _AXIS,
    'dynamics': _DYNAMICS,
    'axis/limit': _LIMIT,
    'axis2/limit': _LIMIT,
    'sensor': 'always_on update_rate visualize topic enable_metrics pose plugin air_pressure '
    'air_speed altimeter camera contact force_torque gps imu lidar logical_camera magnetometer '
    'navsat ray rfid rfidtag sonar transceiver gz_frame_id ignition_frame_id frame_id',
    'camera': 'triggered camera_info_topic trigger_topic horizontal_fov image clip save '
    'depth_camera segmentation_type box_type noise distortion lens visibility_mask '
    'optical_frame_id pose',
    'camera/image': 'width height format anti_aliasing',
    'clip': 'near far',
    'depth_camera': 'output clip',
    'lidar': 'scan range noise visibility_mask',
    'ray': 'scan range noise visibility_mask',
    'scan': 'horizontal vertical',
    'scan/horizontal': 'samples resolution min_angle max_angle',
    'scan/vertical': 'samples resolution min_angle max_angle',
    'range': 'min max resolution',
    'noise': 'type mean stddev bias_mean bias_stddev dynamic_bias_stddev precision '
    'dynamic_bias_correlation_time',
    'imu': 'orientation_reference_frame angular_velocity linear_acceleration enable_orientation',
    'angular_velocity': _AXES,
    'linear_acceleration': _AXES,
    'altimeter': 'vertical_position vertical_velocity',
    'magnetometer': _AXES,
    'navsat': 'position_sensing velocity_sensing',
    'gps': 'position_sensing velocity_sensing',
    'position_sensing': 'horizontal vertical',
    'velocity_sensing': 'horizontal vertical',
    'force_torque': 'frame measure_direction force torque',
    'force': _AXES,
    'torque': _AXES,
    'sensor/contact': 'collision topic',
    'light': 'cast_shadows light_on visualize intensity pose diffuse specular attenuation '
    'direction spot',
    'attenuation': 'range linear constant quadratic',
    'spot': 'inner_angle outer_angle falloff',
    'physics': 'max_step_size real_time_factor real_time_update_rate max_contacts dart simbody '
    'bullet ode',
    'scene': 'ambient background sky shadows fog grid origin_visual',
    'spherical_coordinates': 'surface_model world_frame_orientation latitude_deg longitude_deg '
    'elevation heading_deg surface_axis_equatorial surface_axis_polar',
}
IGNORED: dict[str, str] = {
    'sdf': 'actor',
    'world': 'actor road population state',
    'model': 'gripper',
    'link': 'velocity_decay projector particle_emitter',
    'inertial': 'fluid_added_mass',
    'surface': 'soft_contact',
    'axis': 'mimic',
    'axis2': 'mimic',
    'sensor/camera': 'triggered trigger_topic distortion lens',
    'imu': 'orientation_reference_frame',
    'scene': 'sky fog',
}
# A joint's <physics> tunes other engines.
UNCHECKED = {'plugin', 'gui', 'joint/physics', 'state', 'actor', 'population'}


def check_children(reader: Reader, element: Element, parent: str = '') -> None:
    """Warn of every element below this one that is unknown or has no effect."""
    path = f'{parent}/{element.name}'
    if element.name in UNCHECKED or path in UNCHECKED:
        return
    known = KNOWN.get(path, KNOWN.get(element.name, '')).split()
    ignored = IGNORED.get(path, IGNORED.get(element.name, '')).split()
    for child in element.children if known else ():
        _check(reader, element, child, known, ignored)
    for child in element.children:
        check_children(reader, child, element.name)


def _check(
    reader: Reader, parent: Element, child: Element, known: list[str], ignored: list[str]
) -> None:
    if child.name in ignored:
        is_off = child.text.lower() in {'false', '0'} and not child.children
        if not is_off:
            reader.warn(child, f'<{child.name}> in <{parent.name}> has no effect')
    elif child.name == 'experimental:params':
        reader.warn(child, 'changes of an included model (<experimental:params>) have no effect')
    elif child.name not in known and ':' not in child.name:
        hint = did_you_mean(child.name, known)
        reader.warn(child, f'unknown element <{child.name}> in <{parent.name}>{hint}')
