/* The gradient references of the matrix product and the convolution against central differences of the forward references; and cut into
 * parts, that every line of an input has the output lines that read it. */
#include "op.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "differences.h"

/* A loss: the sum of y times fixed numbers g, y = the forward op of x. */
typedef struct problem {
    bl_op forward;
    bl_params p;
    double *v[BL_MAX_OPERANDS];
    const double *g;
    uint32_t x, y;  /* operands of the forward op */
    size_t outputs;
} problem;

static double *numbers(size_t count, unsigned seed)
{
    double *v = malloc(count * sizeof(*v));
    assert_non_null(v);
    uint32_t state = seed;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        v[i] = (double)(state >> 8) / 8388608.0 - 1;
    }
    return v;
}

/* Tightly packed views of what the op sees; returns the elements of operand i in size[i]. */
static void pack(bl_op op, bl_params *p, size_t size[BL_MAX_OPERANDS])
{
    bl_operand o[BL_MAX_OPERANDS];
    bl_extent e[BL_MAX_OPERANDS] = { 0 };
    const uint32_t n = bl_op_operands(op, o);
    bl_op_infos[op].extents(p, e);
    for (uint32_t i = 0; i < n; i++) {
        p->v[i] = (struct view){ 0, e[i].cols };
        size[i] = (size_t)e[i].rows * e[i].cols;
    }
}

static double loss(void *context)
{
    const problem *q = context;
    bl_op_infos[q->forward].ref(&q->p, q->v, NULL);
    double sum = 0;
    for (size_t i = 0; i < q->outputs; i++)
        sum += q->v[q->y][i] * q->g[i];
    return sum;
}

/* Compares the gradient of `forward` with `backward`, whose operands are g, w, r (if `added`) and d. */
static void compare(bl_op forward, bl_params f, bl_op backward, bl_params b, bool added)
{
    size_t size[BL_MAX_OPERANDS] = { 0 }, sizes[BL_MAX_OPERANDS] = { 0 };
    problem q = { .forward = forward, .p = f, .x = 0, .y = 5 };
    pack(forward, &q.p, size);
    pack(backward, &b, sizes);
    assert_int_equal(sizes[0], size[q.y]);
    assert_int_equal(sizes[1], size[1]);
    assert_int_equal(sizes[3], size[q.x]);
    q.outputs = size[q.y];
    q.v[0] = numbers(size[0], 1);
    q.v[1] = numbers(size[1], 2);
    q.v[5] = numbers(size[5], 3);
    double *g = numbers(size[5], 4), *r = added ? numbers(sizes[2], 5) : NULL, *d = numbers(sizes[3], 6);
    q.g = g;
    bl_op_infos[backward].ref(&b, (double *[]){ g, q.v[1], r, d }, NULL);
    for (size_t i = 0; r && i < sizes[3]; i++)
        d[i] -= r[i];
    assert_gradient(loss, &q, q.v[0], size[0], 1, d, 1e-9);
    free(d);
    free(r);
    free(g);
    free(q.v[0]);
    free(q.v[1]);
    free(q.v[5]);
}

static void matmul(void **state)
{
    (void)state;
    static const uint32_t sizes[][3] = { { 1, 1, 1 }, { 5, 7, 3 }, { 4, 1, 9 }, { 6, 8, 4 } };
    for (size_t i = 0; i < BL_COUNT(sizes); i++)
        for (int added = 0; added < 2; added++) {
            const uint32_t m = sizes[i][0], n = sizes[i][1], k = sizes[i][2];
            compare(BL_OP_matmul_fwd, (bl_params){ .matmul_fwd = { .m = m, .n = n, .k = k, .a_rows = 1 } }, BL_OP_matmul_bwd_x,
                    (bl_params){ .matmul_bwd_x = { .m = m, .n = n, .k = k, .given = added ? 1u << 2 : 0 } }, added);
        }
}

/* Every kernel, stride and padding on odd sizes; far padding comes from the size of the output. */
static void conv(void **state)
{
    (void)state;
    for (uint32_t kernel = 1; kernel <= 4; kernel++)
        for (uint32_t stride = 1; stride <= 4; stride++)
            for (uint32_t pad = 0; pad <= 2; pad++)
                for (uint32_t far = 0; far <= 1; far++) {
                    const uint32_t h = 5, width = 6, given = far ? 1u << 2 : 0;
                    const uint32_t oh = (h + pad + far - kernel) / stride + 1, ow = (width + 2 * pad - kernel) / stride + 1;
                    compare(BL_OP_conv_fwd, (bl_params){ .conv_fwd = { .images = 2, .h = h, .width = width, .c = 2, .oh = oh, .ow = ow,
                                .oc = 3, .kernel = kernel, .stride = stride, .pad = pad, .pad_y = pad } },
                            BL_OP_conv_bwd_x, (bl_params){ .conv_bwd_x = { .images = 2, .h = h, .width = width, .c = 2, .oh = oh, .ow = ow,
                                .oc = 3, .kernel = kernel, .stride = stride, .pad = pad, .pad_y = pad, .given = given } }, far);
                }
}

/* Parts of every size give what the whole gives, and pad_y never goes below 0. */
static void conv_in_parts(void **state)
{
    (void)state;
    for (uint32_t kernel = 1; kernel <= 4; kernel++)
        for (uint32_t stride = 1; stride <= 4; stride++)
            for (uint32_t pad = 0; pad <= 2; pad++)
                for (uint32_t oh = 1; oh <= 9; oh += 2)
                    for (uint32_t count = 1; count <= 8; count++) {
                        bl_params p = { .conv_bwd_x = { .images = 2, .h = 7, .width = 3, .c = 1, .oh = oh, .ow = 3, .oc = 2,
                            .kernel = kernel, .stride = stride, .pad = pad, .pad_y = pad } };
                        size_t size[BL_MAX_OPERANDS] = { 0 };
                        pack(BL_OP_conv_bwd_x, &p, size);
                        double *g = numbers(size[0], 1), *w = numbers(size[1], 2), *d = numbers(size[3], 3), *parts = numbers(size[3], 4);
                        const bl_op_info *info = &bl_op_infos[BL_OP_conv_bwd_x];
                        info->ref(&p, (double *[]){ g, w, NULL, d }, NULL);
                        for (uint32_t first = 0; first < info->units(&p);) {
                            bl_params part = p;
                            first += info->cut(&part, first, BL_MIN(count, info->units(&p) - first));
                            assert_true(part.conv_bwd_x.pad_y < 16);
                            assert_true(part.conv_bwd_x.g.off + part.conv_bwd_x.oh * 3 * 2 <= size[0]);
                            info->ref(&part, (double *[]){ g, w, NULL, parts }, NULL);
                        }
                        assert_memory_equal(d, parts, size[3] * sizeof(*d));
                        free(g);
                        free(w);
                        free(d);
                        free(parts);
                    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(matmul), cmocka_unit_test(conv), cmocka_unit_test(conv_in_parts) };
    return cmocka_run_group_tests_name("gradients of the products", tests, NULL, NULL);
}
