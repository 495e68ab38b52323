/* Push-constant blocks, one struct per op, and the per-step constants. Compiled as GLSL and as C11: only uint and float members,
 * no padding, at most 128 bytes (the guaranteed push constant size).
 *
 * Tensors are channels-last matrices: row r, column c of operand v is element v.off + r * v.stride + c of its binding, where a row is
 * a pixel or token (batch outermost) and a column a channel. Every block starts with the views of its operands in binding order, so
 * a caller can treat that part as an array. Where operands are optional, `given` is next: bit i is set when operand i is there and
 * optional. */
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
#define ACT_RELU 4u        /* max(0, x), derivative 0 at 0 */
#define ACT_TANH_3 5u      /* 3 tanh(x / 3), which keeps latents within -3 .. 3 */

/* y = act(x w^T + b + a) + r */
struct matmul_params {
    VIEW x, w, b, a, r, y;  /* [m,k] [n,k] [1,n]? [m/a_rows,n]? [m,n]? [m,n] */
    uint given;
    uint m, n, k;
    uint a_rows;            /* rows of x that share a row of a (pixels of an image); 1 if a is absent */
    uint act;
};

/* 2-D convolution, y = act(conv(x, w) + b + a) + r, output pixel (oy,ox) reads input pixel
 * (oy*stride + ky - pad_y, ox*stride + kx - pad), zero outside. The input is first enlarged 2^up times by nearest neighbour. */
struct conv_params {
    VIEW x, w, b, a, r, y;  /* [n*h*w,c] [oc, kernel*kernel*c] [1,oc]? [n,oc]? [n*oh*ow,oc]? [n*oh*ow,oc] */
    uint given;
    uint images, h, width, c;  /* input as stored, before enlarging */
    uint oh, ow, oc;
    uint kernel, stride, pad, up;
    uint act;
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

/* --- reverse mode: g is the gradient of a loss with respect to y, d the gradient with respect to x; r, where there is one, is added to
 *     d, so that several gradients of a tensor add up without a pass of their own. Weights are constants: they have no gradients. ---- */

/* d = g w + r: matmul_fwd without its epilogue. */
struct matmul_bwd_params {
    VIEW g, w, r, d;        /* [m,n] [n,k] [m,k]? [m,k] */
    uint given;
    uint m, n, k;
};

/* d[i] = sum over the outputs and taps that read input pixel i of g w, plus r: conv_fwd without its epilogue, up = 0. */
struct conv_bwd_params {
    VIEW g, w, r, d;        /* [images*oh*ow,oc] [oc, kernel*kernel*c] [images*h*width,c]? [images*h*width,c] */
    uint given;
    uint images, h, width, c;
    uint oh, ow, oc;
    uint kernel, stride, pad;
    uint pad_y;             /* pad; in a part of the lines, plus the lines above it, less the lines of y above it times stride;
                               never below 0 */
};

/* Sums over slices of rows, for the gradient of group_norm: with n = (x - mean) rstd, h = n w + b and e = w g act'(h),
 * u[(image*slices + s), 2c] = sum e, [.. 2c+1] = sum e n, over rows s*slice_rows .. of the image. */
struct channel_stats_bwd_params {
    VIEW x, s, w, b, g, u;  /* [images*rows, channels] [images, 2*groups] fp32 [1,channels] x2 [images*rows, channels]
                               [images*slices, 2*channels] fp32 */
    uint images, rows, channels, groups;
    uint slices, slice_rows;
    uint act;
};

/* Joins them with the statistics s: t[image, 4*group ..] = mean, rstd, mean of e, mean of e n. */
struct group_stats_bwd_params {
    VIEW s, u, t;           /* [images, 2*groups] [images*slices, 2*channels] [images, 4*groups]; all fp32 */
    uint images, rows, channels, groups;
    uint slices;
};

/* d = rstd (e - mean of e - n mean of e n) + r. */
struct group_norm_bwd_params {
    VIEW x, t, w, b, g, r, d; /* [images*rows, channels] [images, 4*groups] fp32 [1,channels] x2 [images*rows, channels] x3 */
    uint given;
    uint images, rows, channels, groups;
    uint act;
};

/* The same over the channels of a row, with n = (x - mean) rstd and e = w g. */
struct layer_norm_bwd_params {
    VIEW x, w, g, r, d;     /* [rows, channels] [1,channels] [rows, channels] [rows, channels]? [rows, channels] */
    uint given;
    uint rows, channels;
    float eps;
};

/* What attention_bwd_q and attention_bwd_kv need of every query instead of its probabilities (Dao 2023, FlashAttention-2), for head h:
 * s[.., 2h] = log of the sum over keys of exp(scale q k), s[.., 2h+1] = sum over the columns of the head of g y. */
struct attention_stats_bwd_params {
    VIEW q, k, y, g, s;     /* [images*tq, heads*head] [images*tk, heads*head] [images*tq, heads*head] x2 [images*tq, 2*heads] fp32 */
    uint images, heads, head, tq, tk;
    float scale;
    uint causal;
};

/* With s0 and s1 those two, p = exp(scale q k - s0) and e = p (g v - s1): d = scale e k, the gradient of q. */
struct attention_bwd_q_params {
    VIEW q, k, v, g, s, d;  /* as in attention_fwd; [images*tq, 2*heads] fp32; d like q */
    uint images, heads, head, tq, tk;
    float scale;
    uint causal;
};

/* e and p as there: dk = scale e^T q, dv = p^T g. */
struct attention_bwd_kv_params {
    VIEW q, k, v, g, s, dk, dv; /* dk and dv like k */
    uint images, heads, head, tq, tk;
    float scale;
    uint causal;
};

/* d = g v^T + a for every head: the gradient of kept probabilities, a what arrives at them besides. */
struct attention_values_bwd_p_params {
    VIEW g, v, a, d;        /* [images*tq, heads*head] [images*tk, heads*head] [images*heads*tq, tk]? fp32 x2 */
    uint given;
    uint images, heads, head, tq, tk;
};

/* d = p^T g for every head. With the gradient of the scores as p and q as g it is the gradient of k. */
struct attention_values_bwd_v_params {
    VIEW p, g, d;           /* [images*heads*tq, tk] fp32 [images*tq, heads*head] [images*tk, heads*head] */
    uint images, heads, head, tq, tk;
};

/* y = softmax(scale x) over the channels of a row. */
struct softmax_params {
    VIEW x, y;              /* [rows, channels] fp32 x2 */
    uint rows, channels;
    float scale;
};

/* d = scale y (g - sum over channels of y g). */
struct softmax_bwd_params {
    VIEW y, g, d;           /* [rows, channels] fp32 x3 */
    uint rows, channels;
    float scale;
};

struct activation_bwd_params {
    VIEW x, g, d;           /* [rows, channels] x3 */
    uint rows, channels, act;
};

struct geglu_bwd_params {
    VIEW x, g, d;           /* [rows, 2*channels] [rows, channels] [rows, 2*channels] */
    uint rows, channels;
};

/* d = the sum of g over the four copies. h and width are those of the small image. */
struct upsample_bwd_params {
    VIEW g, d;              /* [images*2h*2width, channels] [images*h*width, channels] */
    uint images, h, width, channels;
};

/* y = value */
struct fill_params {
    VIEW y;                 /* [rows, channels] */
    uint rows, channels;
    float value;
};

/* --- attention maps, losses and pictures --------------------------------------------------------------------------- */

/* y[i,j] = r[i,j] + scale * sum over heads h of x[h*rows + i, j]. */
struct heads_mean_params {
    VIEW x, r, y;           /* [heads*rows, channels] [rows, channels]? [rows, channels]; all fp32 */
    uint given;
    uint heads, rows, channels;
    float scale;
};

/* d[h*rows + i, j] = scale * s[0] * g[i,j]; s as loss_scale_fwd makes it, 1 without. */
struct heads_mean_bwd_params {
    VIEW g, s, d;           /* [rows, channels] [1,2]? [heads*rows, channels]; all fp32 */
    uint given;
    uint heads, rows, channels;
    float scale;
};

/* s = (2^e, 2^-e) with e such that target/2 < 2^e max|x| <= target, within 2^-120 .. 2^120; (1, 1) where no x is finite and not zero.
 * A gradient times 2^e fits fp16 (Micikevicius et al. 2018). */
struct loss_scale_params {
    VIEW x, s;              /* [rows, channels] [1,2]; fp32 */
    uint rows, channels;
    float target;           /* a power of two */
};

/* y = x filtered along lines and columns with (edge, centre, edge), reflected at the border (without repeating the last pixel). */
struct smooth_params {
    VIEW x, y;              /* [h*width, channels] fp32 x2; h and width at least 2 */
    uint h, width, channels;
    float edge, centre;
};

/* The adjoint of that. */
struct smooth_bwd_params {
    VIEW g, d;
    uint h, width, channels;
    float edge, centre;
};

/* How far the maps are from a full peak: with top_j = max over rows of x m (m 1 if absent; the first of equal ones) and
 * l_j = max(0, 1 - top_j), y = (l, top_0, row of it, top_1, row of it, ..), where l is the largest l_j, or their mean. */
struct peak_loss_params {
    VIEW x, m, y;           /* [rows, channels] [rows, 1]? [1, 1 + 2*channels]; all fp32; rows below 2^24 */
    uint given;
    uint rows, channels, mean;
};

/* d = scale * dl/dx, 0 but at the peaks: y as peak_loss_fwd made it. Of equal l_j the first counts; at l_j = 0 it is 0. */
struct peak_loss_bwd_params {
    VIEW m, y, d;           /* [rows, 1]? [1, 1 + 2*channels] [rows, channels]; all fp32 */
    uint given;
    uint rows, channels, mean;
    float scale;
};

/* z = x y / (|x| |y|) over the channels of a row; 0 where one is 0. */
struct cosine_params {
    VIEW x, y, z;           /* [rows, channels] x2 [rows, 1] fp32 */
    uint rows, channels;
};

/* d = scale * dz/dx */
struct cosine_bwd_params {
    VIEW x, y, d;           /* [rows, channels] x3 */
    uint rows, channels;
    float scale;
};

/* y = min(max(scale x + shift, 0), 1) */
struct clamp_params {
    VIEW x, y;              /* [rows, channels] x2 */
    uint rows, channels;
    float scale, shift;
};

/* d = scale g where 0 <= scale x + shift <= 1, else 0. */
struct clamp_bwd_params {
    VIEW x, g, d;           /* [rows, channels] x3 */
    uint rows, channels;
    float scale, shift;
};

/* Bicubic (Keys 1981, a = -0.75) without antialiasing, half-pixel centres, border repeated: as torch's interpolate. */
struct bicubic_params {
    VIEW x, y;              /* [images*h*width, channels] [images*oh*ow, channels] */
    uint images, h, width, oh, ow, channels;
};

/* The adjoint of that. */
struct bicubic_bwd_params {
    VIEW g, d;              /* [images*oh*ow, channels] [images*h*width, channels] */
    uint images, h, width, oh, ow, channels;
};

/* y = (x - m[0,c]) * m[1,c] */
struct normalize_params {
    VIEW x, m, y;           /* [rows, channels] [2, channels] fp32 [rows, channels] */
    uint rows, channels;
};

/* d = g * m[1,c] */
struct normalize_bwd_params {
    VIEW g, m, d;
    uint rows, channels;
};

/* y[h*tq + i, j] = p e^(m_i k_j) / sum over j of the same: adds m_i k_j to the logits behind kept probabilities. */
struct attention_gain_params {
    VIEW p, m, k, y;        /* [heads*tq, tk] [tq, 1] [1, tk] [heads*tq, tk]; all fp32 */
    uint heads, tq, tk;
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

/* d = scale (* in_scale of the step) * s[1] * the sum of g over the copies; s as loss_scale_fwd makes it, 1 without. */
struct scale_bwd_params {
    VIEW g, s, d;           /* [copies*rows, channels] [1,2]? fp32 [rows, channels] fp32 */
    uint given;
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

/* One step of any linear multistep scheduler, see struct bl_step. In place; without noise kn counts as 0. */
struct scheduler_step_params {
    VIEW e, z, x, h;        /* model output, noise?, sample [rows, channels] fp32; h: [4*rows, channels] fp32: h1, h2, h3, saved sample */
    uint given;
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
