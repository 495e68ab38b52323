/* Push-constant blocks, one struct per op, and the per-step constants. Compiled as GLSL and as C11: only uint and float members,
 * no padding, at most 128 bytes (the guaranteed push constant size).
 *
 * Tensors are channels-last matrices: row r, column c of operand v is element v.off + r * v.stride + c of its binding, where a row is
 * a pixel or token (batch outermost) and a column a channel. Every block starts with the views of its operands in binding order, so
 * a caller can treat that part as an array. */
#ifndef BL_PARAMS_H
#define BL_PARAMS_H
#ifdef GL_core_profile
#define VIEW view
#else
typedef unsigned int uint;
#define VIEW struct view
#endif

struct view {
    uint off;     /* elements from the start of the binding to row 0, column 0 */
    uint stride;  /* elements from one row to the next */
};

/* Activations that an epilogue or activation_fwd applies. */
#define ACT_NONE 0u
#define ACT_SILU 1u        /* x * sigmoid(x) */
#define ACT_GELU 2u        /* x * Phi(x), exact (erf) */
#define ACT_QUICK_GELU 3u  /* x * sigmoid(1.702 x) */

/* y = act(x w^T + b + a) + r. `given`: bit i is set when optional operand i of the binding order is there. */
struct matmul_params {
    VIEW x, w, b, a, r, y;  /* [m,k] [n,k] [1,n]? [m/a_rows,n]? [m,n]? [m,n] */
    uint m, n, k;
    uint a_rows;            /* rows of x that share a row of a (pixels of an image); 1 if a is absent */
    uint act, given;
};

/* 2-D convolution, y = act(conv(x, w) + b + a) + r, output pixel (oy,ox) reads input pixel
 * (oy*stride + ky - pad_y, ox*stride + kx - pad), zero outside. The input is first enlarged 2^up times by nearest neighbour. */
struct conv_params {
    VIEW x, w, b, a, r, y;  /* [n*h*w,c] [oc, kernel*kernel*c] [1,oc]? [n,oc]? [n*oh*ow,oc]? [n*oh*ow,oc] */
    uint images, h, width, c;  /* input as stored, before enlarging */
    uint oh, ow, oc;
    uint kernel, stride, pad, up;
    uint act, given;
    uint pad_y;             /* pad; in a part of the lines, less the lines above it, modulo 2^32 */
};

/* Mean and sum of squared deviations of every channel over slices of rows:
 * y[(image*slices + s), 2c] = mean, [.. 2c+1] = sum (x - mean)^2, over rows s*slice_rows .. of the image. */
struct channel_stats_params {
    VIEW x, y;              /* [images*rows, channels] [images*slices, 2*channels] fp32 */
    uint images, rows, channels;
    uint slices, slice_rows;  /* slices = ceil(rows / slice_rows) */
};

/* Joins channel statistics to (mean, 1/sqrt(variance + eps)) per image and group (Chan, Golub, LeVeque 1979). */
struct group_stats_params {
    VIEW x, y;              /* [images*slices, 2*channels] fp32, [images, 2*groups] fp32 */
    uint images, rows, channels, groups;
    uint slices, slice_rows;
    float eps;
};

/* y = act((x - mean) * rstd * w + b) with the statistics of group_stats (Wu, He 2018). */
struct group_norm_params {
    VIEW x, s, w, b, y;     /* [images*rows, channels] [images, 2*groups] fp32 [1,channels] [1,channels] [images*rows, channels] */
    uint images, rows, channels, groups;
    uint act;
};

/* y = (x - mean) / sqrt(variance + eps) * w + b over the channels of a row (Ba, Kiros, Hinton 2016). */
struct layer_norm_params {
    VIEW x, w, b, y;        /* [rows, channels] [1,channels] [1,channels] [rows, channels] */
    uint rows, channels;
    float eps;
};

/* y = softmax(scale * q k^T) v for every image and head; head i is columns i*head .. of q, k, v and y. causal: query i sees keys 0..i. */
struct attention_params {
    VIEW q, k, v, y;        /* [images*tq, heads*head] [images*tk, heads*head] x2, [images*tq, heads*head] */
    uint images, heads, head, tq, tk;
    float scale;
    uint causal;
};

/* p = softmax(scale * q k^T), kept: row (image*heads + h)*tq + i, column key. fp32. */
struct attention_probs_params {
    VIEW q, k, p;           /* [images*tq, heads*head] [images*tk, heads*head] [images*heads*tq, tk] fp32 */
    uint images, heads, head, tq, tk;
    float scale;
    uint causal;
};

/* y = p v with kept probabilities. */
struct attention_values_params {
    VIEW p, v, y;           /* [images*heads*tq, tk] fp32, [images*tk, heads*head] [images*tq, heads*head] */
    uint images, heads, head, tq, tk;
};

/* y = act(x) */
struct activation_params {
    VIEW x, y;              /* [rows, channels] x2 */
    uint rows, channels, act;
};

/* y = x[:, :channels] * gelu(x[:, channels:])  (Shazeer 2020) */
struct geglu_params {
    VIEW x, y;              /* [rows, 2*channels] [rows, channels] */
    uint rows, channels;
};

/* z = x + y, where y_rows rows of x share a row of y: 1 for tensors of one size, the pixels of an image for a time embedding. */
struct add_params {
    VIEW x, y, z;           /* [rows, channels] [rows/y_rows, channels] [rows, channels] */
    uint rows, channels, y_rows;
};

/* y = x: gathers or scatters a view. */
struct copy_params {
    VIEW x, y;              /* [rows, channels] x2 */
    uint rows, channels;
};

/* Nearest neighbour, twice the size: y[n, i, j, c] = x[n, i/2, j/2, c]. */
struct upsample_params {
    VIEW x, y;              /* [images*h*width, channels] [images*2h*2width, channels] */
    uint images, h, width, channels;
};

/* --- sampling: these read the row of the current step ------------------------------------------------------------- */

/* y = (cos(t f_0), .. cos(t f_half-1), sin(t f_0), ..) with t of the step; f comes from the host (Ho et al. 2020; flip_sin_to_cos). */
struct timestep_embedding_params {
    VIEW f, y;              /* [1, half] fp32, [1, 2*half] */
    uint half_dim;
};

/* y = x * scale (* in_scale of the step when per_step is not 0), written `copies` times one after another: the network's input. */
struct scale_params {
    VIEW x, y;              /* [rows, channels] fp32, [copies*rows, channels] */
    uint rows, channels, copies;
    float scale;
    uint per_step;
};

/* Classifier-free guidance (Ho, Salimans 2022): y = x_uncond + guidance * (x_cond - x_uncond), guidance of the step;
 * x holds the unconditional rows first. With branches = 1 it only converts. */
struct guidance_params {
    VIEW x, y;              /* [branches*rows, channels] [rows, channels] fp32 */
    uint rows, channels, branches;
};

/* One step of any linear multistep scheduler, see struct bl_step. In place. */
struct scheduler_step_params {
    VIEW e, z, x, h;        /* model output, noise, sample [rows, channels] fp32; h: [4*rows, channels] fp32: h1, h2, h3, saved sample */
    uint rows, channels;
};

/* x = m * x + (1 - m) * (blend_x * z + blend_n * noise): outside the mask the source at the new noise level. In place. */
struct blend_params {
    VIEW m, z, n, x;        /* mask [rows, 1], source, noise, sample [rows, channels]; all fp32 */
    uint rows, channels;
};

/* Moves to the next step. */
struct step_next_params {
    uint count;             /* steps in the table; the counter stops there */
};

/* Counts submissions: x = x + 1, and 1 after `last`. The host compares it with what it has submitted. */
struct sentinel_params {
    VIEW x;                 /* [1, 1] fp32 */
    float last;             /* below 2^24, where fp32 stops counting */
};

/* Constants of one evaluation of the model. With model output e (after guidance) and sample x:
 *   m  = px*x + pe*e
 *   x' = cx*x + cs*saved + k0*m + k1*h1 + k2*h2 + k3*h3 + kn*noise
 * then, if save, saved = x; if push, h3 = h2, h2 = h1, h1 = m. DDIM, PLMS, Euler and DPM-Solver++ are rows of this table. */
struct bl_step {
    float t;                /* timestep, 0 .. 999 */
    float in_scale;         /* the model sees in_scale * x */
    float px, pe;
    float cx, cs;
    float k0, k1, k2, k3;
    float kn;
    float save, push;       /* 0 or 1 */
    float blend_x, blend_n; /* the source after this step: blend_x * z + blend_n * noise */
    float guidance;
};
#define BL_STEP_DEFINED
#define BL_STEP_BINDING 7   /* uint step, 3 x uint reserved, then bl_step rows */

#endif
