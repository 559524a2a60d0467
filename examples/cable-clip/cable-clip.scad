// SPDX-License-Identifier: CC0-1.0
//
// Seat-rail cable clip
//
// Pushes over the upright flange of a cabin seat rail and holds the seat-power
// cable in a snap-in ring above it.  The tab at the foot of one leg opens the
// jaw with a thumb, so that the clip comes off without a tool.
// A demonstration part: not an approved aircraft part.
//
// All lengths are in millimetres, all angles in degrees.
// The part is drawn in its print orientation: lying on its side on z = 0, so
// that every spring arm bends within a layer instead of between two layers.
// It prints without supports.

/* [Rail] */
// Thickness of the flange that the jaw slides over.
rail_thickness = 3.0;
// Width added to the slot, so that the jaw slides.
rail_clearance = 0.3;
// How far the jaw reaches down the flange.
jaw_depth = 16;
// How far each of the two grip bumps stands into the slot; together they must
// exceed the clearance, otherwise the clip falls off.
grip = 0.45;
// Length of the thumb tab, and how far it leans away from the flange.
tab_length = 5.5;
tab_angle = 38;

/* [Cable] */
// Outer diameter of the cable.
cable = 7.8;
// Diameter added to the bore, so that the cable lies in it loosely.
cable_clearance = 0.4;
// Width of the snap-in mouth as a share of the cable diameter; well below 0.7
// an arm in PLA breaks, above 0.85 the cable falls out.
mouth = 0.74;
// Direction of the mouth, counter-clockwise from +x; off the top, so that a
// pull straight up does not open the ring.
mouth_angle = 138;

/* [Body] */
// Length of the clip along the rail; this is the height of the print, 25 whole
// layers of 0.28.
length = 7;
// Wall of the jaw and of the ring; 2.25 is four lines of 0.6 without a gap.
wall = 2.25;
// 45 degree chamfer along every edge of both faces; the lower one makes up for
// the widened first layer.  A larger one would leave the first layer too narrow
// for four lines.
chamfer = 0.22;
// Radius that fills the inner corners, where a sharp corner would crack.
fillet = 1.4;

/* [Mesh] */
// Segments of a full circle: of the ring and its bore, of rounded corners, and
// of the chamfer.  The last two stay low, because they are multiplied by the
// number of corners of the outline.
ring_fn = 36;
corner_fn = 12;
chamfer_fn = 8;

slot = rail_thickness + rail_clearance;
jaw_half = slot / 2 + wall;
bore_radius = (cable + cable_clearance) / 2;
// The ring and the bridge of the jaw share one wall.
ring_centre = [0, wall + bore_radius];

assert(2 * grip > rail_clearance, "the grip bumps do not reach the flange");
assert(chamfer < wall / 2, "the chamfer would eat the wall");

// Everything that holds material, before slot and bore are cut.
module solid_outline() {
    // Closing (grow, then shrink) rounds the inner corners only.
    offset(r = -fillet, $fn = corner_fn) offset(r = fillet, $fn = corner_fn) {
        translate([-jaw_half, -jaw_depth]) square([2 * jaw_half, jaw_depth + wall]);
        translate(ring_centre) circle(r = bore_radius + wall, $fn = ring_fn);
        thumb_tab();
    }
}

// Leans outward from the foot of the right leg.
module thumb_tab() {
    translate([slot / 2, -jaw_depth]) rotate(tab_angle) translate([0, -tab_length])
        square([wall, tab_length + wall]);
}

// Slot for the flange: a lead-in at the mouth, two grip bumps above it.
module rail_slot() {
    lead_in = 1.2;
    bump_radius = 1.4;
    difference() {
        union() {
            offset(r = 1, $fn = corner_fn) offset(delta = -1)
                translate([-slot / 2, -jaw_depth - 2]) square([slot, jaw_depth + 2]);
            polygon([
                [-slot / 2 - lead_in, -jaw_depth], [slot / 2, -jaw_depth],
                [slot / 2, -jaw_depth + 2 * lead_in], [-slot / 2, -jaw_depth + 2 * lead_in],
            ]);
        }
        for (side = [-1, 1])
            translate([side * (slot / 2 + bump_radius - grip), -jaw_depth + 4.2])
                circle(r = bump_radius, $fn = corner_fn);
    }
}

// Bore of the ring with its mouth; the funnel guides the cable in.
module cable_bore() {
    gap = cable * mouth;
    far = bore_radius + wall + 1;
    throat = bore_radius * 0.9;
    circle(r = bore_radius, $fn = ring_fn);
    rotate(mouth_angle) polygon([
        [0, -gap / 2], [throat, -gap / 2], [far, -gap / 2 - wall],
        [far, gap / 2 + wall], [throat, gap / 2], [0, gap / 2],
    ]);
}

module outline() {
    // Opening (shrink, then grow) takes the edge off the outer corners.
    offset(r = 0.5, $fn = corner_fn) offset(r = -0.5, $fn = corner_fn) difference() {
        solid_outline();
        rail_slot();
        translate(ring_centre) cable_bore();
    }
}

// The outline swept along the rail; the double cone adds the chamfers.
module cable_clip() {
    minkowski() {
        translate([0, 0, chamfer])
            linear_extrude(length - 2 * chamfer) offset(delta = -chamfer) outline();
        union() {
            cylinder(r1 = chamfer, r2 = 0, h = chamfer, $fn = chamfer_fn);
            mirror([0, 0, 1]) cylinder(r1 = chamfer, r2 = 0, h = chamfer, $fn = chamfer_fn);
        }
    }
}

cable_clip();
