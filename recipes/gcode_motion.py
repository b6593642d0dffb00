"""What the proof takes a machine to do: heads, position, feed and retraction, in integers, each motion judged before it counts.

Nothing here is shared with the writer. Beads are nearly all of a program, so those that follow one another at one feed rate are
judged together: what holds for all of them (section, layer, retraction) once, the rest by the extremes of whole columns of
integers. Where an extreme leaves its limits, each bead is looked at by itself, to say which one and why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isqrt

from recipes.gcode_values import E_QUANTUM, FEED_QUANTUM, LayerTally, Limits, Refusals, SectionTally

MINUTE_US = 60_000_000
MICROMETRE = 1000
_SAME_PLACE = 1000


@dataclass(frozen=True, slots=True)
class Beads:
    """Straight beads in a row, by column: where each ends, its E, its length, all in nm, and the square of how far it ends from a place."""

    x: Sequence[int]
    y: Sequence[int]
    e: Sequence[int]
    length: Sequence[int]
    away: Sequence[int]


class Motion:
    """The machine as the proof takes it to be: `at` (None where a coordinate is not known), `feed`, and how far each head is retracted.

    Lifetime: one program. Concurrency: none.
    """

    def __init__(self, heads: tuple[Limits, ...], refusals: Refusals) -> None:
        self.heads = heads
        self.limits = heads[0]
        self.at: list[int | None] = [None, None, None]
        self.feed: int | None = None
        self.top = heads[0].surface_z
        self.reach: list[tuple[int, int] | None] = [None, None, None]
        self._in_use = 0
        self._held = [0] * len(heads)
        self._refusals = refusals
        self._refuse = refusals.refuse

    @property
    def retracted(self) -> int:
        """How far the head in use is retracted; each head stays as it was left."""
        return self._held[self._in_use]

    def select(self, head: int) -> None:
        """Take a head into use. The firmware puts its nozzle where the last one's was, so that positions stay."""
        self._in_use, self.limits, self.feed = head, self.heads[head], None

    # beads

    def lay(self, section: SectionTally, words: Sequence[tuple[str, str, str]], feed: int) -> None:
        """Lay beads at one feed rate, on the lines that end with the line at hand. `words`: X and Y in µm, E in 0.00001 mm, as digits."""
        last = self._refusals.line
        self._refusals.line = last - len(words) + 1
        for reason in self._cannot_lay(section):
            self._refuse(reason)
        x, y, z = self.at
        beads = _columns(words, (x or 0, y or 0), (section.x, section.y))
        if section.n and z is not None:
            layer = self._layer(section, z)
            if not self._sound(beads, feed):
                self._explain(beads, feed)
            self._count_beads(section, layer, beads, feed)
        for axis, ends in enumerate((beads.x, beads.y)):
            self.at[axis] = ends[-1]
            self._widen(axis, min(ends), max(ends))
        self._refusals.line = last

    def _cannot_lay(self, section: SectionTally) -> Iterator[str]:
        """Say what forbids any bead here and now."""
        x, y, z = self.at
        if not section.n or self.limits.dispense or x is None or y is None or z is None:
            yield "material is laid down outside a printed unit or from an unknown place"
        elif not self._near(section, x, y):
            yield "material is laid down outside the unit's own place"
        if self.retracted:
            yield "material is laid down while retracted: the un-retraction is missing"

    def _sound(self, beads: Beads, feed: int) -> bool:
        """Say whether every bead goes somewhere, lays material down, stays in its place, and keeps speed, flow and exposure."""
        limits = self.limits
        (x_low, x_high), (y_low, y_high), _ = limits.envelope
        return (
            feed <= limits.print_feed
            and min(beads.e) >= 0
            and min(beads.length) > 0
            and max(beads.e) * limits.area <= limits.exposure
            and x_low <= min(beads.x)
            and max(beads.x) <= x_high
            and y_low <= min(beads.y)
            and max(beads.y) <= y_high
            and max(beads.away) <= limits.footprint**2
            and self._flow_sound(beads.e, beads.length, feed)
        )

    def _flow_sound(self, e: Sequence[int], length: Sequence[int], feed: int) -> bool:
        """Judge volume times feed over length against the range of flow, granting each E its last decimal."""
        low, high = self.limits.flow
        high = min(high, self.limits.volumetric_rate)
        slowest, fastest = self.limits.area * (feed + FEED_QUANTUM), self.limits.area * feed
        over = max([amount * fastest - high * way for amount, way in zip(e, length, strict=True)])
        under = min([amount * slowest - low * way for amount, way in zip(e, length, strict=True)])
        return over <= E_QUANTUM * fastest and under >= -E_QUANTUM * slowest

    def _count_beads(self, section: SectionTally, layer: LayerTally, beads: Beads, feed: int) -> None:
        area = self.limits.area
        pushed = sum(beads.e)
        rates = [e * area * feed // (length or 1) for e, length in zip(beads.e, beads.length, strict=True)]
        layer.length += sum(beads.length)
        layer.volume += pushed * area
        section.deposited += pushed
        section.net += pushed
        section.time_us += sum([length * MINUTE_US // feed for length in beads.length])
        section.radius_squared = max(section.radius_squared, max(beads.away))
        section.rate_seen(min(rates), max(rates))

    def _explain(self, beads: Beads, feed: int) -> None:
        """Refuse each bead that is not sound, with the reason, on its line."""
        limits, first = self.limits, self._refusals.line
        for number, (x, y, e, length, away) in enumerate(zip(beads.x, beads.y, beads.e, beads.length, beads.away, strict=True)):
            one = Beads((x,), (y,), (e,), (length,), (away,))
            if self._sound(one, feed):
                continue
            self._refusals.line = first + number
            self._inside(0, x)
            self._inside(1, y)
            if away > limits.footprint**2:
                self._refuse("material is laid down outside the unit's own place")
            if feed > limits.print_feed:
                self._refuse(f"printing at {feed / MINUTE_US:.1f} mm/s is above the machine's limit")
            if e < 0 or not length:
                self._refuse("an extruding move goes nowhere or takes material back")
            elif not self._flow_sound(one.e, one.length, feed):
                self._refuse_flow(e, length, feed)
            if e * limits.area > limits.exposure:
                self._refuse("one line moves more than the bounded exposure")

    def _refuse_flow(self, e: int, length: int, feed: int) -> None:
        low, high = self.limits.flow
        rate = e * self.limits.area * feed / length / 6e13
        self._refuse(f"the flow is {rate:.2f} uL/s, outside {low / 6e13:g} to {high / 6e13:g} uL/s")

    def _layer(self, section: SectionTally, z: int) -> LayerTally:
        layers = section.layers
        if layers and layers[-1].z == z:
            return layers[-1]
        thickness = z - (layers[-1].z if layers else section.base)
        low, high = self.limits.layer
        if not low <= thickness <= high:
            self._refuse(f"layer {len(layers) + 1} is {thickness / 1_000_000:.3f} mm high, outside {low / 1e6:g} to {high / 1e6:g} mm")
        layers.append(LayerTally(z, thickness))
        return layers[-1]

    # travel

    def _inside(self, axis: int, value: int) -> None:
        low, high = self.limits.envelope[axis]
        if not low <= value <= high:
            self._refuse(f"{'XYZ'[axis]} {value / 1_000_000:.3f} leaves the envelope {low / 1_000_000:g} to {high / 1_000_000:g} mm")
        self._widen(axis, value, value)

    def _widen(self, axis: int, low: int, high: int) -> None:
        reach = self.reach[axis] or (low, high)
        self.reach[axis] = (min(reach[0], low), max(reach[1], high))

    def _clear(self, section: SectionTally) -> int:
        """The lowest height at which the nozzle may go across the plate."""
        own = section.layers[-1].z if section.layers else max(section.base, self.limits.surface_z)
        return max(self.top, own) + self.limits.lift

    def _near(self, section: SectionTally, x: int | None, y: int | None) -> bool:
        """Say whether a point lies on the place where this section may go down."""
        if x is None or y is None:
            return False
        if section.n:
            dx, dy = x - section.x, y - section.y
            reach = _SAME_PLACE if self.limits.dispense else self.limits.footprint
            return dx * dx + dy * dy <= reach * reach
        return section.primes and (x, y) == self.limits.purge[:2]

    def lift(self, section: SectionTally, z: int, feed: int) -> None:
        """Go up or down."""
        self._inside(2, z)
        if feed > self.limits.z_travel:
            self._refuse(f"Z moves at {feed / MINUTE_US:.1f} mm/s, above the machine's limit")
        old = self.at[2]
        if z < self._clear(section) and not self._near(section, self.at[0], self.at[1]):
            self._refuse("Z goes below the clear height away from its own place")
        ground = self.limits.purge[2] if section.primes else max(section.base, self.limits.surface_z)
        floor = section.layers[-1].z if section.layers else ground
        if z < floor:
            self._refuse("Z goes down into what is printed or into the plate")
        section.time_us += 0 if old is None else abs(z - old) * MINUTE_US // feed
        self.at[2] = z

    def travel(self, section: SectionTally, x: int, y: int, feed: int) -> None:
        """Go across. The first travel after homing starts from an unknown place and takes no time that could be told."""
        low, high = self.limits.travel
        if not low - FEED_QUANTUM <= feed <= high:
            self._refuse(f"travel at {feed / MINUTE_US:.1f} mm/s leaves its range")
        self._inside(0, x)
        self._inside(1, y)
        old_x, old_y, z = self.at
        over_own_place = self._near(section, old_x, old_y) and self._near(section, x, y)
        if z is None:
            self._refuse("travel at an unknown height")
        elif z < self._clear(section) and not (section.layers and over_own_place and z >= section.layers[-1].z):
            self._refuse("travel below the clear height")
        if old_x is not None and old_y is not None:
            section.time_us += isqrt((x - old_x) ** 2 + (y - old_y) ** 2) * MINUTE_US // feed
        self.at[0], self.at[1] = x, y

    # E alone

    def pump(self, section: SectionTally, e: int, feed: int) -> None:
        """Move E alone: retraction, un-retraction of what was retracted, or a dispensed increment."""
        if not (section.n or section.primes):
            self._refuse("E moves outside a unit and outside priming")
        if abs(e) * self.limits.area > self.limits.exposure:
            self._refuse("one line moves more than the bounded exposure")
        section.net += e
        section.time_us += abs(e) * MINUTE_US // feed
        if e < 0 or self.retracted > 0:
            self._retract(e, feed)
        else:
            self._dispense(section, e, feed)

    def _dispense(self, section: SectionTally, e: int, feed: int) -> None:
        limits = self.limits
        if not e:
            self._refuse("E alone moves nothing")
        if section.n and not limits.dispense:
            self._refuse("E alone lays material down in a printed unit")
        wanted_z = limits.purge[2] if section.primes else limits.surface_z
        if self.at[2] != wanted_z or not self._near(section, self.at[0], self.at[1]):
            self._refuse("material is dispensed away from its place")
        if not self._rate_sound(limits.flow, feed):
            self._refuse_flow(1, 1, feed)
        section.deposited += e
        section.rate_seen(limits.area * feed, limits.area * feed)

    def _rate_sound(self, allowed: tuple[int, int], feed: int) -> bool:
        """Judge the volume rate of E alone at a feed rate."""
        low, high = allowed
        return low <= self.limits.area * (feed + FEED_QUANTUM) and self.limits.area * feed <= min(high, self.limits.volumetric_rate)

    def _retract(self, e: int, feed: int) -> None:
        if not self._rate_sound(self.limits.retraction_rate, feed):
            self._refuse(f"retraction at {self.limits.area * feed / 6e13:.2f} uL/s leaves its range")
        if e > self.retracted:
            self._refuse("more is un-retracted than was retracted")
        self._held[self._in_use] = max(0, self.retracted - e)


def _columns(words: Sequence[tuple[str, str, str]], start: tuple[int, int], place: tuple[int, int]) -> Beads:
    x_words, y_words, e_words = zip(*words, strict=True)
    x, y = [int(word) * MICROMETRE for word in x_words], [int(word) * MICROMETRE for word in y_words]
    from_x, from_y = [start[0], *x[:-1]], [start[1], *y[:-1]]
    at_x, at_y = place
    return Beads(
        x=x,
        y=y,
        e=[int(word) * E_QUANTUM for word in e_words],
        length=[isqrt((bx - ax) * (bx - ax) + (by - ay) * (by - ay)) for ax, ay, bx, by in zip(from_x, from_y, x, y, strict=True)],
        away=[(bx - at_x) * (bx - at_x) + (by - at_y) * (by - at_y) for bx, by in zip(x, y, strict=True)],
    )
