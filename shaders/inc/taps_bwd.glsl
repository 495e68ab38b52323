// Where the gradient of a convolution reads. The input pixels are sorted by phase, the remainders of their line and column by the stride:
// pixels of one phase are read through the same taps, every stride-th one, and neighbours among them through the same tap by neighbouring
// outputs. A workgroup has pixels of one phase; a stride of 1 has one phase. SIZE: the rows of a tile, which divide the rows of a phase.
struct place {
    uint pixel;   // row of d; NO_PIXEL: none
    uint image;   // g row of its image's first pixel
    uint y, x;    // its line and column, counted with the padding
};
const uint NO_PIXEL = 0xffffffffu;

uint phase_h() { return (p.h + p.stride - 1) / p.stride; }
uint phase_width() { return (p.width + p.stride - 1) / p.stride; }
uint phase_pixels() { return p.images * phase_h() * phase_width(); }
uint phase_rows() { return (phase_pixels() + SIZE - 1) / SIZE * SIZE; }

// Of row m, counted through all phases.
place place_of(uint m)
{
    const uint in_phase = m % phase_rows(), i = min(in_phase, phase_pixels() - 1), line = i / phase_width(), image = line / phase_h();
    const uint phase = m / phase_rows(), y = (line - image * phase_h()) * p.stride + phase / p.stride;
    const uint x = (i - line * phase_width()) * p.stride + phase % p.stride;
    const bool is_pixel = i == in_phase && y < p.h && x < p.width;
    return place(is_pixel ? (image * p.h + y) * p.width + x : NO_PIXEL, image * p.oh * p.ow, y + p.pad_y, x + p.pad);
}

// True if the pixels of its phase are read through the tap, ky * kernel + kx.
bool phase_has(place at, uint tap)
{
    return at.y % p.stride == tap / p.kernel % p.stride && at.x % p.stride == tap % p.kernel % p.stride;
}

// Row of g that reads it through the tap, if there is one.
bool tap_row(place at, uint tap, out uint r)
{
    const uint oy = (at.y - tap / p.kernel) / p.stride, ox = (at.x - tap % p.kernel) / p.stride;  // below 0 they wrap
    const bool inside = oy < p.oh && ox < p.ow;
    r = inside ? at.image + oy * p.ow + ox : 0;
    return inside;
}
