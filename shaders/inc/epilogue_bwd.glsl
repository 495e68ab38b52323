// What matmul_bwd_x and conv_bwd_x do to a finished sum: add r, where there is one. r may be d itself: a lane reads r only where it then
// writes d.
layout(binding = 2) readonly  buffer R  { T r[]; };
layout(binding = 2) readonly  buffer R4 { T4 r4[]; };
layout(binding = 3) writeonly buffer D  { T d[]; };
layout(binding = 3) writeonly buffer D4 { T4 d4[]; };

bool given() { return (p.given >> 2 & 1u) != 0u; }

// Four columns from n on of row m.
void finish(vec4 v, uint m, uint n)
{
    if (given())
        v += vec4(r4[(p.r.off + m * p.r.stride + n) / 4]);
    d4[(p.d.off + m * p.d.stride + n) / 4] = T4(v);
}

// The same for one column.
void finish(float v, uint m, uint n)
{
    if (given())
        v += float(r[p.r.off + m * p.r.stride + n]);
    d[p.d.off + m * p.d.stride + n] = T(v);
}
