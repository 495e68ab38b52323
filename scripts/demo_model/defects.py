"""The six kinds of defect. Each changes a Material in place and gives its weight [n,n], 0 .. 1; the mask is where that is above 1/2.

A defect lies on the object: its place is drawn among the object's points, its size from the object's. It has to be seen, so it is
darker on bright things and brighter on dark ones."""
import numpy as np
import scipy.ndimage as nd

from scene import F, mix, smoothstep


def luminance(m, where):
    w = where / (where.sum() + 1e-6)
    return float((m.albedo @ np.array([.2126, .7152, .0722], F) * w).sum())


def place(g, m, margin):
    """A point of the object, at least margin (half pictures) inside its outline and the picture's edge."""
    inside = m.alpha > 0.5
    inside[:2] = inside[-2:] = False
    inside[:, :2] = inside[:, -2:] = False
    depth = nd.distance_transform_edt(inside) * (2 / g.n)
    good = np.flatnonzero(depth >= min(margin, 0.75 * depth.max()))
    i = good[g.rng.integers(len(good))]
    return float(g.u.flat[i]), float(g.v.flat[i])


def segments(g, points, radius):
    """Distance (half pictures) to a line through points, and the share of the way along it, near the line; far elsewhere."""
    best = np.full((g.n, g.n), 9.0, F)
    along = np.zeros((g.n, g.n), F)
    total = len(points) - 1
    for i, (p, q) in enumerate(zip(points[:-1], points[1:])):
        lo, hi = np.minimum(p, q) - radius, np.maximum(p, q) + radius
        x0, y0 = np.clip(((lo + 1) * g.n / 2).astype(int), 0, g.n)
        x1, y1 = np.clip(((hi + 1) * g.n / 2).astype(int) + 1, 0, g.n)
        if x0 >= x1 or y0 >= y1:
            continue
        u, v = g.u[y0:y1, x0:x1] - p[0], g.v[y0:y1, x0:x1] - p[1]
        e = q - p
        t = np.clip((u * e[0] + v * e[1]) / (e @ e + 1e-12), 0, 1)
        d = np.hypot(u - t * e[0], v - t * e[1])
        near = d < best[y0:y1, x0:x1]
        best[y0:y1, x0:x1] = np.where(near, d, best[y0:y1, x0:x1])
        along[y0:y1, x0:x1] = np.where(near, (i + t) / total, along[y0:y1, x0:x1])
    return best, along


def wander(rng, start, angle, length, steps, turn):
    p, points = np.array(start, float), [np.array(start, float)]
    for _ in range(steps):
        angle += rng.normal(0, turn)
        p = p + length / steps * np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(0.6, 1.4)
        points.append(p)
    return points


def crack(g, m):
    """A jagged dark gap that branches, thinning out to its ends."""
    r = g.rng
    x, y = place(g, m, 0.25 * m.extent)
    angle, length = r.uniform(-np.pi, np.pi), m.extent * r.uniform(1.0, 1.6)
    back = wander(r, (x, y), angle + np.pi, length / 2, 6, 0.45)
    front = wander(r, (x, y), angle, length / 2, 6, 0.45)
    line = back[::-1] + front[1:]
    width = r.uniform(0.016, 0.030)
    radius = 4 * width
    d, t = segments(g, line, radius)
    jag = width * 0.35 * g.noise(1.6, 6, 40)
    w = smoothstep(0.7, -0.5, (d - width * (1 - 0.75 * np.abs(2 * t - 1) ** 2) + jag * (d < radius)) / (width * 0.6))
    for _ in range(r.integers(1, 4)):
        i = r.integers(2, len(line) - 2)
        e = line[i + 1] - line[i]
        side = np.arctan2(e[1], e[0]) + r.choice([-1, 1]) * r.uniform(0.5, 1.1)
        d, t = segments(g, wander(r, line[i], side, length * r.uniform(0.15, 0.32), 4, 0.4), radius)
        w = np.maximum(w, smoothstep(0.7, -0.5, (d - 0.7 * width * (1 - t) + jag * (d < radius)) / (width * 0.5)))
    w = w * m.alpha
    deep = np.array([.012, .010, .008], F)
    dark = luminance(m, w + 1e-4) < 0.075                 # on black things a crack shows its pale inside
    m.albedo = mix(m.albedo, np.clip(m.inside * 1.2 + 0.12, 0, 1) if dark else deep, w * 0.94)
    m.height = m.height - 0.03 * w
    m.spec, m.metal = m.spec * (1 - w), m.metal * (1 - w)
    return w


def scratch(g, m):
    """Thin, nearly straight lines side by side that lay the matter below the surface bare."""
    r = g.rng
    x, y = place(g, m, 0.25 * m.extent)
    angle, count = r.uniform(-np.pi, np.pi), r.integers(2, 6)
    length, gap = m.extent * r.uniform(0.6, 1.15), m.extent * r.uniform(0.05, 0.11)
    w = np.zeros((g.n, g.n), F)
    for i in range(count):
        off = (i - (count - 1) / 2) * gap * r.uniform(0.7, 1.2)
        a = angle + r.normal(0, 0.05)
        n = length * r.uniform(0.6, 1.0)
        start = np.array([x - np.sin(a) * off - np.cos(a) * n / 2, y + np.cos(a) * off - np.sin(a) * n / 2])
        start = start + np.array([np.cos(a), np.sin(a)]) * r.normal(0, 0.08) * n
        d, t = segments(g, wander(r, start, a, n, 5, 0.035), 0.06)
        width = r.uniform(0.008, 0.017)
        w = np.maximum(w, smoothstep(0.8, -0.4, (d - width * np.sqrt(np.clip(np.sin(np.pi * t), 0.05, 1))) / (width * 0.7)))
    w = w * m.alpha
    y0 = luminance(m, w + 1e-4)
    bare = np.clip(y0 * 2.2 + 0.22, 0, 0.95) if y0 < 0.42 else y0 * 0.22
    tint = m.inside / (m.inside.mean() + 1e-6) * 0.3 + 0.7
    m.albedo = mix(m.albedo, np.clip(bare * tint, 0, 1).astype(F), w * 0.92)
    m.height = m.height - 0.008 * w
    m.spec, m.metal = m.spec * (1 - 0.5 * w), m.metal * (1 - 0.7 * w)
    return w


def blob(g, x, y, radius, rough, stretch=1.0):
    """Signed distance to an irregular round shape, in half pictures, about."""
    a, b = g.local(x, y, g.rng.uniform(-np.pi, np.pi), 1.0)
    return np.hypot(a / stretch, b * stretch) - radius * (1 + rough * g.noise(2.4, 2, 16))


def hole(g, m):
    """Round openings with a worn rim, dark inside."""
    r = g.rng
    w = np.zeros((g.n, g.n), F)
    for i in range(1 if r.random() < 0.7 else r.integers(2, 4)):
        radius = m.extent * (r.uniform(0.15, 0.24) if i == 0 else r.uniform(0.06, 0.11))
        x, y = place(g, m, radius * 1.1)
        d = blob(g, x, y, radius, 0.10)
        one = smoothstep(0.012, -0.012, d)
        rim = np.exp(-((d - 0.022) / 0.022) ** 2) * m.alpha * (1 - one)
        m.height = m.height + 0.012 * rim - 0.10 * smoothstep(0.01, -0.06, d)
        m.albedo = mix(m.albedo, np.clip(m.inside * 1.15 + 0.05, 0, 1), rim * 0.55)
        wall = smoothstep(-radius * 0.55, 0.0, d)
        m.albedo = mix(m.albedo, mix(np.array([.010, .009, .008], F), m.inside * 0.30, wall * 0.7), one)
        w = np.maximum(w, np.maximum(one, rim * 0.9))
    w = w * m.alpha
    m.spec, m.metal = m.spec * (1 - w), m.metal * (1 - w)
    return w


STAINS = [(.10, .055, .02), (.035, .030, .028), (.20, .07, .02), (.05, .075, .03), (.03, .045, .10)]     # coffee, oil, rust, mould, ink


def stain(g, m):
    """A liquid that dried: a blot with a darker edge and some drops around it."""
    r = g.rng
    radius = m.extent * r.uniform(0.26, 0.42)
    x, y = place(g, m, radius * 0.7)
    d = blob(g, x, y, radius, 0.16, r.uniform(0.8, 1.25))
    for _ in range(r.integers(0, 5)):
        turn, far = r.uniform(-np.pi, np.pi), radius * r.uniform(1.15, 1.7)
        d = np.minimum(d, blob(g, x + far * np.cos(turn), y + far * np.sin(turn), radius * r.uniform(0.10, 0.22), 0.1))
    body = smoothstep(0.018, -0.018, d)
    ring = np.exp(-((d + 0.025) / 0.028) ** 2) * body
    w = body * m.alpha
    tint = np.array(STAINS[r.integers(len(STAINS))], F)
    if luminance(m, w + 1e-4) < 0.10:                     # on dark things it dries pale
        tint = np.array([.50, .47, .40], F) * F(r.uniform(0.7, 1.2))
    m.albedo = mix(m.albedo, tint * (1 + 0.15 * g.noise(2, 2, 30))[..., None], w * np.clip(0.80 + 0.20 * ring, 0, 1))
    m.albedo = np.clip(m.albedo, 0.003, 1)
    m.metal = m.metal * (1 - 0.8 * w)
    m.spec = m.spec * (1 - 0.4 * w)
    return w


def dent(g, m):
    """Pressed in: a smooth hollow whose wall toward the lamp lies in shade."""
    r = g.rng
    radius = m.extent * r.uniform(0.26, 0.38)
    x, y = place(g, m, radius * 0.8)
    stretch = r.uniform(0.8, 1.3)
    d = blob(g, x, y, radius, 0.05, stretch) / radius + 1                     # 0 in the middle, 1 at the edge
    bowl = np.clip(1 - np.clip(d, 0, None) ** 2, 0, 1) ** 1.1
    m.height = m.height - radius * r.uniform(0.55, 0.75) * bowl + radius * 0.10 * np.exp(-((d - 1.05) / 0.14) ** 2)
    crease = np.exp(-((d - 0.95) / 0.07) ** 2)
    m.albedo = m.albedo * (1 - 0.35 * crease - 0.30 * bowl)[..., None]
    return smoothstep(1.12, 0.98, d) * m.alpha


def missing_piece(g, m):
    """Broken off at the edge of an object, or out of a surface, with a fresh fracture."""
    r = g.rng
    if m.ground is None:
        radius = m.extent * r.uniform(0.26, 0.40)
        x, y = place(g, m, radius * 0.5)
        corners = r.integers(5, 8)
        turns = np.sort(r.uniform(0, 2 * np.pi / corners, corners) + np.arange(corners) * 2 * np.pi / corners)
        far = radius * r.uniform(0.75, 1.2, corners)
        a, b = g.local(x, y, r.uniform(-np.pi, np.pi), 1.0)
        phi = np.arctan2(b, a) % (2 * np.pi)
        d = np.hypot(a, b) - np.interp(phi, turns, far, period=2 * np.pi) * (1 + 0.05 * g.noise(1.8, 4, 40))
        w = smoothstep(0.008, -0.008, d)
        grain = g.noise(1.2, 6)
        m.albedo = mix(m.albedo, np.clip(m.inside * (1 + 0.16 * grain)[..., None], 0.004, 1), w)
        m.height = mix(m.height, -0.05 + 0.004 * grain, smoothstep(0.008, -0.035, d))
        m.spec, m.metal = m.spec * (1 - w), m.metal * (1 - w)
        m.albedo = m.albedo * (1 - 0.45 * np.exp(-((d + 0.02) / 0.02) ** 2))[..., None]
        return w
    inside = m.alpha > 0.5
    outline = np.argwhere(inside & ~nd.binary_erosion(inside, iterations=2))
    cx, cy = m.centre
    far = np.hypot(g.u[outline[:, 0], outline[:, 1]] - cx, g.v[outline[:, 0], outline[:, 1]] - cy)
    outline = outline[far > 0.55 * np.percentile(far, 80)]                    # the outer edge, not a bore
    row, column = outline[r.integers(len(outline))]
    x, y = float(g.u[row, column]), float(g.v[row, column])
    radius = m.extent * r.uniform(0.34, 0.52)
    toward = np.hypot(x - cx, y - cy) + 1e-6
    x, y = x + (x - cx) / toward * radius * 0.22, y + (y - cy) / toward * radius * 0.22
    d = blob(g, x, y, radius, 0.07) + 0.014 * np.abs(g.noise(1.4, 6, 50))
    gone = smoothstep(0.006, -0.006, d)
    wall = smoothstep(0.075, 0.055, d + 0.010 * g.noise(2, 3, 20)) * m.alpha
    w = wall.copy()                                                            # the fracture belongs to the defect, and so does the gap
    m.albedo = mix(m.albedo, np.clip(m.inside * (1 + 0.15 * g.noise(1.2, 8))[..., None], 0.004, 1), wall)
    m.height = m.height - 0.05 * wall
    m.spec, m.metal = m.spec * (1 - wall), m.metal * (1 - wall)
    m.alpha = m.alpha * (1 - gone)
    return w


KINDS = {"crack": crack, "scratch": scratch, "hole": hole, "stain": stain, "dent": dent, "missing piece": missing_piece}
