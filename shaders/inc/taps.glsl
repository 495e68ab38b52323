// Where a convolution reads: the input pixel of an output pixel and a tap.
struct place {
    uint image;   // x row of its image's first pixel
    uint oy, ox;  // input pixel of tap (pad_y, pad), in the enlarged input
};

place place_of(uint m)
{
    const uint pixels = p.oh * p.ow, image = m / pixels, line = m / p.ow - image * p.oh;
    return place(image * p.h * p.width, line * p.stride, m % p.ow * p.stride);
}

// Row of x that tap (ky, kx) reads, if it is inside the image.
bool tap_row(place at, uint ky, uint kx, out uint r)
{
    const uint iy = at.oy + ky - p.pad_y, ix = at.ox + kx - p.pad;  // below 0 they wrap
    const bool inside = iy < p.h << p.up && ix < p.width << p.up;
    r = inside ? at.image + (iy >> p.up) * p.width + (ix >> p.up) : 0;
    return inside;
}
