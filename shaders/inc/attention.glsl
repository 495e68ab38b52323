// What the attention kernels share: how they read and write the columns of one head, four at a time.
//
// WIDTH is 4 where head size, offsets and strides are multiples of four (vec4 loads), else 1: a vector is then put together column by
// column, with 0 behind the last one. Zeros add nothing to a sum, so both give the same bytes.
layout(constant_id = 2) const uint WIDTH = 4;
layout(constant_id = 4) const uint HEAD = 40;
const uint H4 = (HEAD + 3) / 4;  // vectors of a head

const float LOG2E = 1.44269504;
const float MASKED = -1e38;  // a score below all others; finite, so that differences stay defined

// Operand x at binding n: get_x reads, set_x writes vector c of the head whose first column is element `at`.
#define HEAD_READ(n, x) \
    layout(binding = n) readonly buffer x##_scalars { T x[]; }; \
    layout(binding = n) readonly buffer x##_vectors { T4 x##4[]; }; \
    vec4 get_##x(uint at, uint c) \
    { \
        if (WIDTH == 4) \
            return vec4(x##4[at / 4 + c]); \
        vec4 four = vec4(0.0); \
        for (uint i = 0; i < 4; i++) \
            if (4 * c + i < HEAD) \
                four[i] = float(x[at + 4 * c + i]); \
        return four; \
    }
#define HEAD_WRITE(n, x) \
    layout(binding = n) writeonly buffer x##_scalars { T x[]; }; \
    layout(binding = n) writeonly buffer x##_vectors { T4 x##4[]; }; \
    void set_##x(uint at, uint c, vec4 four) \
    { \
        if (WIDTH == 4) \
            x##4[at / 4 + c] = T4(four); \
        else \
            for (uint i = 0; i < 4; i++) \
                if (4 * c + i < HEAD) \
                    x[at + 4 * c + i] = T(four[i]); \
    }

// Element of row `row`, first column of head `head`.
#define HEAD_AT(x, row, head) (p.x.off + (row) * p.x.stride + (head) * HEAD)

// s + a.b, columns ascending.
float dot_onto(float s, vec4 a, vec4 b) { return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, s)))); }
