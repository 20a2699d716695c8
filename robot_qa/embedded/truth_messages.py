"""What is truly in a picture, or in the world, as detections of vision_msgs."""

from __future__ import annotations

from collections.abc import Sequence

from vision_msgs.msg import (
    Detection2D,
    Detection2DArray,
    Detection3D,
    Detection3DArray,
    ObjectHypothesisWithPose,
)

from robot_qa.embedded.boxes import TruthBox, TruthBox3D
from robot_qa.embedded.outputs import header, put


def detections_2d(stamp_ns: int, frame: str, boxes: Sequence[TruthBox]) -> Detection2DArray:
    """Return the models in a picture, each around its visible part; ``id`` is the model's name.

    The first result is the class, with the score 1. Two more tell how well it can be seen: the
    score of ``visibility`` is the share of the model's silhouette that nothing stands in front of,
    that of ``truncation`` the share that lies outside the picture.
    """
    made = Detection2DArray(header=header(stamp_ns, frame))
    for box in boxes:
        one = Detection2D(header=made.header, id=box.model, results=[
            _hypothesis(box.class_id, 1.0), _hypothesis('visibility', box.visibility),
            _hypothesis('truncation', box.truncation),
        ])
        left, top, right, bottom = box.visible
        one.bbox.center.position.x = (left + right) / 2
        one.bbox.center.position.y = (top + bottom) / 2
        one.bbox.size_x, one.bbox.size_y = float(right - left), float(bottom - top)
        made.detections.append(one)
    return made


def detections_3d(stamp_ns: int, frame: str, boxes: Sequence[TruthBox3D]) -> Detection3DArray:
    """Return the models of a world in its frame; ``id`` is the name, the only result the class.

    Its pose is that of the box.
    """
    made = Detection3DArray(header=header(stamp_ns, frame))
    for box in boxes:
        result = _hypothesis(box.class_id, 1.0)
        one = Detection3D(header=made.header, id=box.model, results=[result])
        for pose in (one.bbox.center, result.pose.pose):
            put(pose.position, box.pose.translation)
            put(pose.orientation, box.pose.rotation)
        put(one.bbox.size, box.size)
        made.detections.append(one)
    return made


def _hypothesis(class_id: str, score: float) -> ObjectHypothesisWithPose:
    made = ObjectHypothesisWithPose()
    made.hypothesis.class_id, made.hypothesis.score = class_id, score
    return made
