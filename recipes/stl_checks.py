"""Whether facets make one solid: closed, turned outwards, one body, nowhere through itself.

Corners are taken as one point where they are equal to 0.1 µm. Every edge must be walked once in each direction: that is a closed
surface with one side. Facets that cross are found by cutting the edges of each with the plane of every other near it.
"""

from __future__ import annotations

import numpy as np
import shapely
import trimesh

from recipes.errors import SolidFileRefused

_GRID = 1e-4
_MOST_PAIRS = 1_000_000
_MOST_QUERIED = 20_000_000
_CHUNK = 100_000
_AT_ONCE = 100
_INSIDE = 1e-9
_LEAST_VOLUME = 0.01
_FLAT = 1e-12
_MAKE = "Repair the solid in the program that made it, export it anew, and have the recipe signed with its SHA-256."


def solid_of(corners: np.ndarray, name: str = "the STL file") -> trimesh.Trimesh:
    """Return the facets as one checked solid. Raises SolidFileRefused naming the facet or the edge that is wrong."""
    points, index = np.unique(np.round(corners.reshape(-1, 3) / _GRID).astype(np.int64), axis=0, return_inverse=True)
    faces = index.reshape(-1, 3)
    flat = (faces[:, 0] == faces[:, 1]) | (faces[:, 1] == faces[:, 2]) | (faces[:, 2] == faces[:, 0])
    faces = faces[~flat]
    if len(faces) < 4:
        raise SolidFileRefused([f"{name} has no facet with an area; it may be in metres"], remedy=_MAKE)
    _check_closed(faces, points, name)
    a, b, c = (points[faces[:, corner]] * _GRID for corner in range(3))
    volume = float((a * np.cross(b, c)).sum() / 6)
    if abs(volume) < _LEAST_VOLUME:
        raise SolidFileRefused([f"{name} holds no volume: it is flat, or in metres"], remedy=_MAKE)
    if volume < 0:
        raise SolidFileRefused([f"{name} is turned inside out: its facets face inwards, its volume is {volume:.3f} mm3"], remedy=_MAKE)
    mesh = trimesh.Trimesh(vertices=points * _GRID, faces=faces, process=False)
    if not mesh.is_watertight:
        raise SolidFileRefused([f"{name} is not closed"], remedy=_MAKE)
    _check_one_body(faces, len(points), name)
    _check_crossings(mesh.vertices, faces, name)
    return mesh


def _check_closed(faces: np.ndarray, points: np.ndarray, name: str) -> None:
    """Each edge once in each direction."""
    edges = np.vstack([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    keys = edges[:, 0] * len(points) + edges[:, 1]
    back = edges[:, 1] * len(points) + edges[:, 0]
    found, counts = np.unique(keys, return_counts=True)
    open_edges = ~np.isin(back, found)
    if open_edges.any():
        x, y, z = points[edges[int(open_edges.argmax())][0]] * _GRID
        turned = bool((counts > 1).any())
        what = "has facets that face against their neighbours or do not meet them" if turned else "is not closed: it has a hole"
        raise SolidFileRefused(
            [f"{name} {what}, {int(open_edges.sum())} edges, the first at x {x:.3f}, y {y:.3f}, z {z:.3f}"], remedy=_MAKE
        )
    if (counts > 1).any():
        raise SolidFileRefused([f"{name} has {int((counts > 1).sum())} edges where more than two facets meet"], remedy=_MAKE)


def _check_one_body(faces: np.ndarray, points: int, name: str) -> None:
    """All points hang together: each takes the smallest number among its neighbours', with the way shortened at every turn."""
    label = np.arange(points)
    while True:
        lowest = label[faces].min(axis=1)
        new = label.copy()
        for corner in range(3):
            np.minimum.at(new, faces[:, corner], lowest)
        new = new[new]
        if np.array_equal(new, label):
            break
        label = new
    bodies = len(np.unique(label[np.unique(faces)]))
    if bodies != 1:
        raise SolidFileRefused([f"{name} has {bodies} bodies, or a void inside; one solid is printed"], remedy=_MAKE)


def _check_crossings(vertices: np.ndarray, faces: np.ndarray, name: str) -> None:
    triangles = vertices[faces]
    first, second = _near_pairs(triangles, name)
    for start in range(0, len(first), _CHUNK):
        a, b = first[start : start + _CHUNK], second[start : start + _CHUNK]
        crossed = _crosses(triangles, faces, a, b) | _crosses(triangles, faces, b, a)
        if crossed.any():
            at = int(crossed.argmax())
            x, y, z = triangles[a[at]].mean(axis=0)
            raise SolidFileRefused([f"{name} goes through itself near x {x:.3f}, y {y:.3f}, z {z:.3f}"], remedy=_MAKE)


def _near_pairs(triangles: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of facets whose boxes overlap, each once."""
    low, high = triangles.min(axis=1), triangles.max(axis=1)
    # The tree looks along the two axes that tell the facets apart best; the third is compared afterwards.
    size = (high - low).sum(axis=0) / np.maximum(np.ptp(triangles.reshape(-1, 3), axis=0), _GRID)
    u, v = np.argsort(size)[:2]
    boxes = shapely.box(low[:, u], low[:, v], high[:, u], high[:, v])
    tree = shapely.STRtree(boxes)
    found: list[np.ndarray] = []
    kept_pairs = queried = 0
    for start in range(0, len(boxes), _AT_ONCE):
        pairs = tree.query(boxes[start : start + _AT_ONCE])
        a, b = pairs[0] + start, pairs[1]
        kept = (a < b) & (low[a] <= high[b]).all(axis=1) & (low[b] <= high[a]).all(axis=1)
        found.append(np.vstack([a[kept], b[kept]]))
        kept_pairs, queried = kept_pairs + int(kept.sum()), queried + len(a)
        if kept_pairs > _MOST_PAIRS or queried > _MOST_QUERIED:
            raise SolidFileRefused([f"{name} has too many facets that lie across each other to be judged"], remedy=_MAKE)
    joined = np.hstack(found)
    return joined[0], joined[1]


def _crosses(triangles: np.ndarray, faces: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Say of each pair whether an edge of facet a goes through facet b, edges that share a corner with b left out."""
    crossed = np.zeros(len(a), dtype=bool)
    target = triangles[b]
    origin, u, v = target[:, 0], target[:, 1] - target[:, 0], target[:, 2] - target[:, 0]
    for corner in range(3):
        start, end = faces[a, corner], faces[a, (corner + 1) % 3]
        apart = ((faces[b] != start[:, None]) & (faces[b] != end[:, None])).all(axis=1)
        from_, way = triangles[a, corner], triangles[a, (corner + 1) % 3] - triangles[a, corner]
        normal = np.cross(u, v)
        slope = (normal * way).sum(axis=1)
        steep = np.abs(slope) > _FLAT
        safe = np.where(steep, slope, 1.0)
        t = (normal * (origin - from_)).sum(axis=1) / safe
        hit = from_ + t[:, None] * way - origin
        # Barycentric coordinates of the point where the edge meets the plane.
        uu, vv, uv = (u * u).sum(axis=1), (v * v).sum(axis=1), (u * v).sum(axis=1)
        hu, hv = (hit * u).sum(axis=1), (hit * v).sum(axis=1)
        area = np.maximum(uu * vv - uv * uv, _FLAT * _FLAT)
        s, r = (hu * vv - hv * uv) / area, (hv * uu - hu * uv) / area
        inside = (s > _INSIDE) & (r > _INSIDE) & (s + r < 1 - _INSIDE) & (t > _INSIDE) & (t < 1 - _INSIDE)
        crossed |= apart & steep & inside
    return crossed
