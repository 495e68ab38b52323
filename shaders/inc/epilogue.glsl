// What matmul_fwd and conv_fwd do to a finished sum, in this order: v += b, v += a, v = act(v), v += r. Bit i of p.given says whether
// operand i of the binding order is there. r may be y itself: a lane reads r only where it then writes y.
#include "inc/activation.glsl"
layout(binding = 2) readonly  buffer B  { T b[]; };     // [1, n]
layout(binding = 2) readonly  buffer B4 { T4 b4[]; };
layout(binding = 3) readonly  buffer A  { T a[]; };     // [m / rows of an image, n]
layout(binding = 3) readonly  buffer A4 { T4 a4[]; };
layout(binding = 4) readonly  buffer R  { T r[]; };     // [m, n]
layout(binding = 4) readonly  buffer R4 { T4 r4[]; };
layout(binding = 5) writeonly buffer Y  { T y[]; };     // [m, n]
layout(binding = 5) writeonly buffer Y4 { T4 y4[]; };

bool given(uint operand) { return (p.given >> operand & 1u) != 0u; }

// Four columns from n on of row m, which belongs to row `image` of a.
void finish(vec4 v, uint m, uint image, uint n)
{
    if (given(2))
        v += vec4(b4[(p.b.off + n) / 4]);
    if (given(3))
        v += vec4(a4[(p.a.off + image * p.a.stride + n) / 4]);
    v = activate(v, p.act);
    if (given(4))
        v += vec4(r4[(p.r.off + m * p.r.stride + n) / 4]);
    y4[(p.y.off + m * p.y.stride + n) / 4] = T4(v);
}

// The same for one column.
void finish(float v, uint m, uint image, uint n)
{
    if (given(2))
        v += float(b[p.b.off + n]);
    if (given(3))
        v += float(a[p.a.off + image * p.a.stride + n]);
    v = activate(v, p.act);
    if (given(4))
        v += float(r[p.r.off + m * p.r.stride + n]);
    y[p.y.off + m * p.y.stride + n] = T(v);
}
