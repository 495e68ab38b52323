/* Problems in parts: how each op is cut (the last column of ops.def). A part is a problem of its own with narrower views, so every
 * implementation takes it, and it adds up in the order of the whole. Layer 2. */
#include "op.h"

static void skip(struct view *v, uint32_t rows) { v->off += rows * v->stride; }

uint32_t bl_units_none(const bl_params *p)
{
    (void)p;
    return 0;
}

uint32_t bl_cut_none(bl_params *p, uint32_t first, uint32_t count)
{
    (void)p;
    (void)first;
    return count;
}

/* --- rows --------------------------------------------------------------------------------------------------------------- */

/* activation, geglu, copy and clamp, whose blocks start alike: x, y, rows. */
uint32_t bl_units_rows(const bl_params *p) { return p->copy_fwd.rows; }

uint32_t bl_cut_rows(bl_params *p, uint32_t first, uint32_t count)
{
    skip(&p->copy_fwd.x, first);
    skip(&p->copy_fwd.y, first);
    p->copy_fwd.rows = count;
    return count;
}

uint32_t bl_units_products_bwd(const bl_params *p) { return p->matmul_bwd_x.m; }

uint32_t bl_cut_products_bwd(bl_params *p, uint32_t first, uint32_t count)
{
    skip(&p->matmul_bwd_x.g, first);
    skip(&p->matmul_bwd_x.r, first);
    skip(&p->matmul_bwd_x.d, first);
    p->matmul_bwd_x.m = count;
    return count;
}

/* activation_bwd and geglu_bwd: x, g, d, rows. */
uint32_t bl_units_rows_bwd(const bl_params *p) { return p->activation_bwd_x.rows; }

uint32_t bl_cut_rows_bwd(bl_params *p, uint32_t first, uint32_t count)
{
    struct activation_bwd_params *q = &p->activation_bwd_x;
    skip(&q->x, first);
    skip(&q->g, first);
    skip(&q->d, first);
    q->rows = count;
    return count;
}

/* normalize_fwd and normalize_bwd_x, whose blocks are alike. */
uint32_t bl_units_normalized_rows(const bl_params *p) { return p->normalize_fwd.rows; }

uint32_t bl_cut_normalized_rows(bl_params *p, uint32_t first, uint32_t count)
{
    skip(&p->normalize_fwd.x, first);
    skip(&p->normalize_fwd.y, first);
    p->normalize_fwd.rows = count;
    return count;
}

uint32_t bl_units_filled_rows(const bl_params *p) { return p->fill_fwd.rows; }

uint32_t bl_cut_filled_rows(bl_params *p, uint32_t first, uint32_t count)
{
    skip(&p->fill_fwd.y, first);
    p->fill_fwd.rows = count;
    return count;
}

uint32_t bl_units_norm_rows(const bl_params *p) { return p->layer_norm_fwd.rows; }

uint32_t bl_cut_norm_rows(bl_params *p, uint32_t first, uint32_t count)
{
    skip(&p->layer_norm_fwd.x, first);
    skip(&p->layer_norm_fwd.y, first);
    p->layer_norm_fwd.rows = count;
    return count;
}

uint32_t bl_units_norm_rows_bwd(const bl_params *p) { return p->layer_norm_bwd_x.rows; }

uint32_t bl_cut_norm_rows_bwd(bl_params *p, uint32_t first, uint32_t count)
{
    struct layer_norm_bwd_params *q = &p->layer_norm_bwd_x;
    skip(&q->x, first);
    skip(&q->g, first);
    skip(&q->r, first);
    skip(&q->d, first);
    q->rows = count;
    return count;
}

/* --- rows of which `period` share a row of another operand ------------------------------------------------------------ */

/* A part either lies inside one period or consists of whole ones. */
static uint32_t whole_periods(uint32_t first, uint32_t count, uint32_t period)
{
    const uint32_t inside = first % period;
    if (inside || count < period)
        return BL_MIN(count, period - inside);
    return count - count % period;
}

uint32_t bl_units_products(const bl_params *p) { return p->matmul_fwd.m; }

uint32_t bl_cut_products(bl_params *p, uint32_t first, uint32_t count)
{
    struct matmul_params *q = &p->matmul_fwd;
    count = whole_periods(first, count, q->a_rows);
    skip(&q->x, first);
    skip(&q->a, first / q->a_rows);
    skip(&q->r, first);
    skip(&q->y, first);
    q->m = count;
    return count;
}

uint32_t bl_units_sums(const bl_params *p) { return p->add_fwd.rows; }

uint32_t bl_cut_sums(bl_params *p, uint32_t first, uint32_t count)
{
    struct add_params *q = &p->add_fwd;
    count = whole_periods(first, count, q->y_rows);
    skip(&q->x, first);
    skip(&q->y, first / q->y_rows);
    skip(&q->z, first);
    q->rows = count;
    return count;
}

/* --- parts of one image ------------------------------------------------------------------------------------------------ */

uint32_t bl_units_image_rows(const bl_params *p) { return p->group_norm_fwd.images * p->group_norm_fwd.rows; }

uint32_t bl_cut_image_rows(bl_params *p, uint32_t first, uint32_t count)
{
    struct group_norm_params *q = &p->group_norm_fwd;
    count = BL_MIN(count, q->rows - first % q->rows);
    skip(&q->x, first);
    skip(&q->s, first / q->rows);
    skip(&q->y, first);
    q->images = 1;
    q->rows = count;
    return count;
}

uint32_t bl_units_slices(const bl_params *p) { return p->channel_stats_fwd.images * p->channel_stats_fwd.slices; }

uint32_t bl_cut_slices(bl_params *p, uint32_t first, uint32_t count)
{
    struct channel_stats_params *q = &p->channel_stats_fwd;
    const uint32_t image = first / q->slices, slice = first % q->slices, row = slice * q->slice_rows;
    count = BL_MIN(count, q->slices - slice);
    skip(&q->x, image * q->rows + row);
    skip(&q->y, first);
    q->images = 1;
    q->rows = BL_MIN(count * q->slice_rows, q->rows - row);
    q->slices = count;
    return count;
}

uint32_t bl_units_image_rows_bwd(const bl_params *p) { return p->group_norm_bwd_x.images * p->group_norm_bwd_x.rows; }

uint32_t bl_cut_image_rows_bwd(bl_params *p, uint32_t first, uint32_t count)
{
    struct group_norm_bwd_params *q = &p->group_norm_bwd_x;
    count = BL_MIN(count, q->rows - first % q->rows);
    skip(&q->x, first);
    skip(&q->t, first / q->rows);
    skip(&q->g, first);
    skip(&q->r, first);
    skip(&q->d, first);
    q->images = 1;
    q->rows = count;
    return count;
}

uint32_t bl_units_slices_bwd(const bl_params *p) { return p->channel_stats_bwd.images * p->channel_stats_bwd.slices; }

uint32_t bl_cut_slices_bwd(bl_params *p, uint32_t first, uint32_t count)
{
    struct channel_stats_bwd_params *q = &p->channel_stats_bwd;
    const uint32_t image = first / q->slices, slice = first % q->slices, row = slice * q->slice_rows;
    count = BL_MIN(count, q->slices - slice);
    skip(&q->x, image * q->rows + row);
    skip(&q->s, image);
    skip(&q->g, image * q->rows + row);
    skip(&q->u, first);
    q->images = 1;
    q->rows = BL_MIN(count * q->slice_rows, q->rows - row);
    q->slices = count;
    return count;
}

/* Under `causal` the number of a query counts, so that is left whole. */
uint32_t bl_units_queries(const bl_params *p)
{
    return p->attention_fwd.causal ? 0 : p->attention_fwd.images * p->attention_fwd.tq;
}

uint32_t bl_cut_queries(bl_params *p, uint32_t first, uint32_t count)
{
    struct attention_params *q = &p->attention_fwd;
    const uint32_t image = first / q->tq;
    count = BL_MIN(count, q->tq - first % q->tq);
    skip(&q->q, first);
    skip(&q->k, image * q->tk);
    skip(&q->v, image * q->tk);
    skip(&q->y, first);
    q->images = 1;
    q->tq = count;
    return count;
}

uint32_t bl_units_stats_queries(const bl_params *p)
{
    const struct attention_stats_bwd_params *q = &p->attention_stats_bwd;
    return q->causal ? 0 : q->images * q->tq;
}

uint32_t bl_cut_stats_queries(bl_params *p, uint32_t first, uint32_t count)
{
    struct attention_stats_bwd_params *q = &p->attention_stats_bwd;
    const uint32_t image = first / q->tq;
    count = BL_MIN(count, q->tq - first % q->tq);
    skip(&q->q, first);
    skip(&q->k, image * q->tk);
    skip(&q->y, first);
    skip(&q->g, first);
    skip(&q->s, first);
    q->images = 1;
    q->tq = count;
    return count;
}

uint32_t bl_units_bwd_queries(const bl_params *p)
{
    return p->attention_bwd_q.causal ? 0 : p->attention_bwd_q.images * p->attention_bwd_q.tq;
}

uint32_t bl_cut_bwd_queries(bl_params *p, uint32_t first, uint32_t count)
{
    struct attention_bwd_q_params *q = &p->attention_bwd_q;
    const uint32_t image = first / q->tq;
    count = BL_MIN(count, q->tq - first % q->tq);
    skip(&q->q, first);
    skip(&q->k, image * q->tk);
    skip(&q->v, image * q->tk);
    skip(&q->g, first);
    skip(&q->s, first);
    skip(&q->d, first);
    q->images = 1;
    q->tq = count;
    return count;
}

uint32_t bl_units_bwd_keys(const bl_params *p)
{
    return p->attention_bwd_kv.causal ? 0 : p->attention_bwd_kv.images * p->attention_bwd_kv.tk;
}

uint32_t bl_cut_bwd_keys(bl_params *p, uint32_t first, uint32_t count)
{
    struct attention_bwd_kv_params *q = &p->attention_bwd_kv;
    const uint32_t image = first / q->tk;
    count = BL_MIN(count, q->tk - first % q->tk);
    skip(&q->q, image * q->tq);
    skip(&q->k, first);
    skip(&q->v, first);
    skip(&q->g, image * q->tq);
    skip(&q->s, image * q->tq);
    skip(&q->dk, first);
    skip(&q->dv, first);
    q->images = 1;
    q->tk = count;
    return count;
}

/* --- lines of pixels --------------------------------------------------------------------------------------------------- */

/* Lines of the small image; each makes two. */
uint32_t bl_units_small_lines(const bl_params *p) { return p->upsample_fwd.images * p->upsample_fwd.h; }

uint32_t bl_cut_small_lines(bl_params *p, uint32_t first, uint32_t count)
{
    struct upsample_params *q = &p->upsample_fwd;
    skip(&q->x, first * q->width);
    skip(&q->y, 4 * first * q->width);
    q->images = 1; /* lines do not look at each other, so nothing is lost */
    q->h = count;
    return count;
}

uint32_t bl_units_small_lines_bwd(const bl_params *p) { return p->upsample_bwd_x.images * p->upsample_bwd_x.h; }

uint32_t bl_cut_small_lines_bwd(bl_params *p, uint32_t first, uint32_t count)
{
    struct upsample_bwd_params *q = &p->upsample_bwd_x;
    skip(&q->g, 4 * first * q->width);
    skip(&q->d, first * q->width);
    q->images = 1;
    q->h = count;
    return count;
}

uint32_t bl_units_lines(const bl_params *p) { return p->conv_fwd.images * p->conv_fwd.oh; }

/* Output lines with the input lines that their taps see, the halo included; at the real borders of the image the taps still end in
 * zeros. pad_y says where the first line of the part lies among the taps. */
uint32_t bl_cut_lines(bl_params *p, uint32_t first, uint32_t count)
{
    struct conv_params *q = &p->conv_fwd;
    const uint32_t image = first / q->oh, line = first % q->oh;
    count = BL_MIN(count, q->oh - line);
    const int64_t above = (int64_t)line * q->stride - (int32_t)q->pad_y, below = above + (int64_t)(count - 1) * q->stride + q->kernel - 1;
    const int64_t top = BL_MIN(BL_MAX(above, 0) >> q->up, (int64_t)q->h - 1);
    const int64_t bottom = BL_MIN(BL_MAX(below, 0) >> q->up, (int64_t)q->h - 1);
    skip(&q->x, (image * q->h + (uint32_t)top) * q->width);
    skip(&q->a, image);
    skip(&q->r, first * q->ow);
    skip(&q->y, first * q->ow);
    q->pad_y = (uint32_t)((top << q->up) - above);
    q->images = 1;
    q->h = (uint32_t)(bottom - top + 1);
    q->oh = count;
    return count;
}

/* Input lines. */
uint32_t bl_units_lines_bwd(const bl_params *p) { return p->conv_bwd_x.images * p->conv_bwd_x.h; }

/* With the output lines that read them, and where the stride does not divide, one more above: so pad_y is not negative, and kernels
 * can divide it. */
uint32_t bl_cut_lines_bwd(bl_params *p, uint32_t first, uint32_t count)
{
    struct conv_bwd_params *q = &p->conv_bwd_x;
    const uint32_t image = first / q->h, line = first % q->h;
    count = BL_MIN(count, q->h - line);
    const uint32_t from = line + q->pad_y, to = from + count - 1; /* counted with the padding */
    const uint32_t top = BL_MIN(from < q->kernel ? 0 : (from - (q->kernel - 1)) / q->stride, q->oh - 1);
    const uint32_t bottom = BL_MIN(to / q->stride, q->oh - 1);
    skip(&q->g, (image * q->oh + top) * q->ow);
    skip(&q->r, first * q->width);
    skip(&q->d, first * q->width);
    q->pad_y = from - top * q->stride;
    q->images = 1;
    q->h = count;
    q->oh = bottom - top + 1;
    return count;
}
