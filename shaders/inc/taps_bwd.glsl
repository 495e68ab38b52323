// Where the gradient of a convolution reads. The input pixels are sorted by phase, the remainders of their line and column by the stride:
// pixels of one phase are read through the same taps, every stride-th from `tap` on, and neighbours among them through the same tap by
// neighbouring outputs. A workgroup has pixels of one phase; a stride of 1 has one phase.
struct place {
    uint pixel;   // row of d; NO_PIXEL: the phase is smaller than the largest
    uint image;   // g row of its image's first pixel
    uint oy, ox;  // output pixel that reads it through the first tap
};
const uint NO_PIXEL = 0xffffffffu;

uint phase_h() { return (p.h + p.stride - 1) / p.stride; }
uint phase_width() { return (p.width + p.stride - 1) / p.stride; }
uint phase_rows() { return p.images * phase_h() * phase_width(); }

uvec2 phase;  // y, x
uvec2 tap;    // the first of the phase's taps: ky, kx

// Sets the phase of a tile of `size` rows by the number of its first row, and returns the number of that row in the phase.
uint enter_phase(uint first, uint size)
{
    const uint tiles = (phase_rows() + size - 1) / size, index = first / size / tiles;
    phase = uvec2(index / p.stride, index % p.stride);
    tap = (phase + uvec2(p.pad_y, p.pad)) % p.stride;
    return first - index * tiles * size;
}

// Of row m of the phase.
place place_of(uint m)
{
    const uint line = m / phase_width(), image = line / phase_h();
    const uvec2 at = uvec2(line - image * phase_h(), m % phase_width()), i = at * p.stride + phase;
    const uvec2 o = at + (phase + uvec2(p.pad_y, p.pad)) / p.stride;
    const uint pixel = i.x < p.h && i.y < p.width ? (image * p.h + i.x) * p.width + i.y : NO_PIXEL;
    return place(pixel, image * p.oh * p.ow, o.x, o.y);
}

// Row of g that reads it through the tap that is i.x lines and i.y columns of taps after the first, if there is one.
bool tap_row(place at, uvec2 i, out uint r)
{
    const uint oy = at.oy - i.x, ox = at.ox - i.y;  // below 0 they wrap
    const bool inside = oy < p.oh && ox < p.ow;
    r = inside ? at.image + oy * p.ow + ox : 0;
    return inside;
}
