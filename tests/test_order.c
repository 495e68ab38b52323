/* One step of sampling of a small model, its dispatches in many orders: each that keeps what depends on each other in order gives the same
 * bytes. What depends on what is found byte by byte (record_oracle.h). BLEMISH_REORDERINGS: how many orders, 100 if unset. */
#include "checkpoint.h"
#include "model_session.h"
#include "record_oracle.h"

enum { SIDE = 16, VALUES = SIDE * SIDE * 4, CONTEXT = 2 * FX_POSITIONS * FX_TEXT, STEPS = 2 };

static uint64_t rng = 1;
static uint32_t next(uint32_t n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(rng >> 33) % n;
}

static uint32_t orders(void)
{
    const char *text = getenv("BLEMISH_REORDERINGS");
    return text ? (uint32_t)strtoul(text, NULL, 10) : 100;
}

/* --- a step and its outputs ----------------------------------------------------------------------------------------------- */

typedef struct output {
    float sample[VALUES], history[4 * VALUES];
} output;

static void write_random(bl_exec *e, bl_value x, size_t count)
{
    static float data[4 * VALUES];
    assert_true(count <= BL_COUNT(data));
    for (size_t i = 0; i < count; i++)
        data[i] = (float)next(2001) / 1000 - 1;
    assert_int_equal(bl_exec_write(e, x, data, count), BL_OK);
}

/* Two steps from the same inputs. */
static void run(bl_stage *s, output *out)
{
    struct bl_step steps[STEPS];
    rng = 42;
    for (uint32_t i = 0; i < STEPS; i++)
        steps[i] = (struct bl_step){ .t = 900.0f - 300.0f * (float)i, .in_scale = 0.9f, .px = 0.8f, .pe = -0.5f, .cx = 0.9f, .k0 = 0.4f,
            .k1 = 0.2f, .push = 1, .save = 1, .cs = 0.1f, .blend_x = 0.7f, .blend_n = 0.6f, .guidance = 5 };
    write_random(s->exec, s->x, VALUES);
    write_random(s->exec, s->history, 4 * VALUES);
    write_random(s->exec, s->source, VALUES);
    write_random(s->exec, s->noise, VALUES);
    write_random(s->exec, s->mask, SIDE * SIDE);
    write_random(s->exec, s->context, CONTEXT);
    assert_int_equal(bl_exec_set_steps(s->exec, steps, STEPS), BL_OK);
    for (uint32_t i = 0; i < STEPS; i++)
        if (bl_exec_run(s->exec) != BL_OK)
            fail_msg("%s", bl_last_error());
    assert_int_equal(bl_exec_read(s->exec, s->x, out->sample, VALUES), BL_OK);
    assert_int_equal(bl_exec_read(s->exec, s->history, out->history, 4 * VALUES), BL_OK);
}

/* --- orders --------------------------------------------------------------------------------------------------------------- */

/* What must come before what: before[i * count + j] for j before i in the record. */
typedef struct order {
    bl_record whole;
    uint8_t *before;
    uint32_t conflicts;
} order;

static void find_order(const bl_exec *e, order *o)
{
    const bl_record *r = bl_exec_record(e);
    o->whole = (bl_record){ bl_alloc(r->count, sizeof(*r->list)), r->count, r->count };
    o->before = calloc((size_t)r->count * r->count, 1);
    assert_true(o->whole.list && o->before);
    memcpy(o->whole.list, r->list, r->count * sizeof(*r->list));
    for (uint32_t j = 0; j < r->count; j++)
        for (uint32_t i = j + 1; i < r->count; i++)
            o->conflicts += o->before[i * r->count + j] = oracle_conflict(r->list, j, j + 1, i, i + 1);
    oracle_forget();
}

/* How many dispatches of the record may come next: `from` lists where each piece comes from, which is its place in `o`. */
static uint32_t ready(const order *o, const uint32_t *from, const uint8_t *done, uint32_t count, uint32_t *out)
{
    const uint32_t n = o->whole.count;
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool waits = done[i];
        for (uint32_t j = 0; j < count && !waits; j++)
            waits = !done[j] && o->before[from[i] * n + from[j]];
        if (!waits)
            out[found++] = i;
    }
    return found;
}

/* The commands of `o` in pieces, several for a few large ones, and their places in `o`. */
static bl_record pieces(const order *o, bool cut, uint32_t **from)
{
    bl_record r = { bl_alloc(8 * o->whole.count, sizeof(*r.list)), 0, 8 * o->whole.count };
    *from = calloc(8 * o->whole.count, sizeof(**from));
    assert_true(r.list && *from);
    for (uint32_t i = 0; i < o->whole.count; i++) {
        const bl_command *c = &o->whole.list[i];
        const uint32_t axis = c->d.groups[0] > 1 ? 0 : c->d.groups[1] > 1 ? 1 : 2, groups = c->d.groups[axis];
        const uint32_t parts = cut ? BL_MIN(1 + next(8), groups) : 1;
        for (uint32_t k = 0; k < parts; k++) {
            bl_command *piece = &r.list[r.count];
            *piece = *c;
            piece->d.base[axis] = c->d.base[axis] + groups * k / parts;
            piece->d.groups[axis] = groups * (k + 1) / parts - groups * k / parts;
            piece->ns = 1 + next(9);
            (*from)[r.count++] = i;
        }
    }
    return r;
}

/* A random order that keeps conflicting dispatches as they were. Returns how many are not where they were. */
static uint32_t reorder(const order *o, bool cut, bl_record *out)
{
    uint32_t *from, moved = 0;
    bl_record r = pieces(o, cut, &from);
    uint8_t *done = calloc(r.count, 1);
    uint32_t *may = calloc(r.count, sizeof(*may));
    *out = (bl_record){ bl_alloc(r.count, sizeof(*r.list)), r.count, r.count };
    assert_true(done && may && out->list);
    for (uint32_t at = 0; at < r.count; at++) {
        const uint32_t n = ready(o, from, done, r.count, may), i = may[next(n)];
        assert_true(n > 0);
        done[i] = 1;
        out->list[at] = r.list[i];
        moved += i != at;
    }
    free(from);
    free(done);
    free(may);
    bl_record_destroy(&r);
    return moved;
}

/* Puts the record in place, with barriers, in random segments. */
static void set_record(bl_stage *s, bl_record *r)
{
    assert_int_equal(bl_record_barriers(r, 5 + next(200)), BL_OK);
    if (bl_exec_set_record(s->exec, r) != BL_OK)
        fail_msg("%s", bl_last_error());
}

/* A clock that stands still: whatever the machine is busy with, nothing seems slow, and nothing is cut again. */
static double no_time(void) { return 0; }

static int begin(void **state)
{
    bl_clock = no_time;
    return setup(state);
}

/* --- tests ---------------------------------------------------------------------------------------------------------------- */

static void legal_orders_give_the_same_bytes(void **state)
{
    (void)state;
    need_device();
    bl_checkpoint *c = NULL;
    const uint64_t limit = context->device->limits.binding;
    static output first, again;
    bool known = false;
    assert_int_equal(bl_checkpoint_open(context, good, NULL, &c), BL_OK);
    for (int sliced = 0; sliced < 2; sliced++) {
        bl_stage s;
        order o = { 0 };
        uint64_t moved = 0, dispatches = 0;
        if (sliced)
            context->device->limits.binding = BL_MIN(limit, 81920); /* all activations that are larger in parts; weights have 73728 bytes */
        if (bl_stage_sampler(c, 2, SIDE, SIDE, true, false, false, STEPS, &s) != BL_OK)
            fail_msg("%s", bl_last_error());
        run(&s, known ? &again : &first);
        if (known)
            assert_memory_equal(&first, &again, sizeof(first));
        known = true;
        find_order(s.exec, &o);
        for (uint32_t i = 0; i < (orders() + 1) / 2; i++) {
            bl_record r;
            rng = 1000 + i;
            moved += reorder(&o, i % 2, &r);
            dispatches += r.count;
            set_record(&s, &r);
            run(&s, &again);
            if (memcmp(&first, &again, sizeof(first)))
                fail_msg("order %u of the %s record gives other bytes", i, sliced ? "sliced" : "whole");
        }
        print_message("%s: %u dispatches, %u conflicts; %u orders, %.0f of %.0f dispatches elsewhere\n", sliced ? "sliced" : "whole",
                      o.whole.count, o.conflicts, (orders() + 1) / 2, (double)moved, (double)dispatches);
        assert_true(moved > dispatches / 2);
        bl_record_destroy(&o.whole);
        free(o.before);
        bl_stage_destroy(&s);
    }
    context->device->limits.binding = limit;
    bl_checkpoint_close(&c);
}

/* The control: an order that swaps two that conflict is seen in the bytes, else the test above would prove nothing. */
static void illegal_orders_give_others(void **state)
{
    (void)state;
    need_device();
    bl_checkpoint *c = NULL;
    bl_stage s;
    order o = { 0 };
    static output first, other;
    uint32_t tried = 0, seen = 0;
    assert_int_equal(bl_checkpoint_open(context, good, NULL, &c), BL_OK);
    assert_int_equal(bl_stage_sampler(c, 2, SIDE, SIDE, true, false, false, STEPS, &s), BL_OK);
    run(&s, &first);
    find_order(s.exec, &o);
    for (uint32_t i = 1; i < o.whole.count; i += 1 + o.whole.count / 20) {
        uint32_t j = i - 1;
        while (j > 0 && !o.before[i * o.whole.count + j])
            j--;
        if (!o.before[i * o.whole.count + j])
            continue;
        bl_record r = { bl_alloc(o.whole.count, sizeof(*r.list)), o.whole.count, o.whole.count };
        assert_non_null(r.list);
        memcpy(r.list, o.whole.list, r.count * sizeof(*r.list));
        memmove(&r.list[j + 1], &r.list[j], (i - j) * sizeof(*r.list)); /* i just before the last one that it needs */
        r.list[j] = o.whole.list[i];
        set_record(&s, &r);
        run(&s, &other);
        tried++;
        seen += !!memcmp(&first, &other, sizeof(first));
    }
    print_message("%u dispatches before what they need: %u seen\n", tried, seen);
    assert_true(tried >= 10 && seen >= tried / 2);
    bl_record_destroy(&o.whole);
    free(o.before);
    bl_stage_destroy(&s);
    bl_checkpoint_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(legal_orders_give_the_same_bytes), cmocka_unit_test(illegal_orders_give_others),
    };
    return cmocka_run_group_tests(tests, begin, teardown);
}
