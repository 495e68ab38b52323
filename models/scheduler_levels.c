/* Timesteps and noise levels of a whole run, scheduler by scheduler, as diffusers 0.30 has them. Layer 4. */
#include "noise.h"
#include "scheduler_table.h"
#include <math.h>

double bl_table_alpha(const bl_table *t, int32_t time)
{
    if (time < 0)
        return t->config->set_alpha_to_one ? 1 : t->alphas[0];
    return t->alphas[BL_MIN(time, (int32_t)t->config->train_steps - 1)];
}

/* Timestep of entry k, descending, when the training range is divided by `points`; as diffusers does it with numpy, whose rint rounds
 * halves to even and whose arange multiplies a rounded difference. (Where that rounding gives numpy's "trailing" one entry too many,
 * timestep -1, it is left out.) "linspace" is not rounded: some schedulers do, some do not. */
static double spaced(const bl_table *t, uint32_t points, uint32_t k)
{
    const double train = t->config->train_steps, n = t->n;
    switch (t->config->spacing) {
    case BL_SPACING_TRAILING:
        return rint(train + k * (train - train / n - train)) - 1;
    case BL_SPACING_LINSPACE:
        return points == 1 ? 0 : k ? (points - 1 - k) * ((train - 1) / (points - 1)) : train - 1; /* the ends are exact */
    case BL_SPACING_LEADING:
        break;
    }
    return (double)(points - 1 - k) * (t->config->train_steps / points) + t->config->steps_offset;
}

/* --- levels as sigma = sqrt((1 - abar) / abar) ------------------------------------------------------------------------ */

static double sigma_of(double abar) { return sqrt((1 - abar) / abar); }
static double abar_of(double sigma) { return 1 / (1 + sigma * sigma); }

/* Between whole timesteps sigma is linear, beyond the last it stays. */
static double sigma_at(const bl_table *t, double time)
{
    const uint32_t last = t->config->train_steps - 1;
    if (time >= last)
        return sigma_of(t->alphas[last]);
    const uint32_t low = (uint32_t)time;
    const double below = sigma_of(t->alphas[low]), above = sigma_of(t->alphas[low + 1]);
    return below + (time - low) * (above - below);
}

/* The timestep of a level, linear in log sigma between whole ones. */
static double time_of(const bl_table *t, double sigma)
{
    const uint32_t train = t->config->train_steps;
    uint32_t low = 0;
    if (train == 1)
        return 0;
    while (low + 2 < train && sigma_of(t->alphas[low + 1]) <= sigma)
        low++;
    const double below = bl_log(sigma_of(t->alphas[low])), above = bl_log(sigma_of(t->alphas[low + 1]));
    const double share = (bl_log(sigma) - below) / (above - below);
    return low + BL_MIN(BL_MAX(share, 0), 1);
}

/* x^(1/7) for x > 0, by Newton's method: libm's pow is not the same everywhere. From above it falls until rounding stops it. */
static double seventh_root(double x)
{
    double y = BL_MAX(x, 1);
    for (int i = 0; i < 200; i++) {
        const double y2 = y * y, next = (6 * y + x / (y2 * y2 * y2)) / 7;
        if (!(next < y))
            break;
        y = next;
    }
    return y;
}

/* Karras et al., equation 5 with rho = 7: level k of n from `most` down to `least`. */
static double karras(double most, double least, uint32_t k, uint32_t n)
{
    const double high = seventh_root(most), low = seventh_root(least);
    const double root = high + (n > 1 ? k / (n - 1.0) : 0) * (low - high), r2 = root * root;
    return r2 * r2 * r2 * root;
}

/* Every step leads to the next one's level, the last to `last`. */
static bl_result chain(const bl_table *t, double last)
{
    for (uint32_t k = 0; k < t->n; k++)
        t->levels[k].to = k + 1 < t->n ? t->levels[k + 1].from : last;
    return BL_OK;
}

static double last_abar(const bl_table *t) { return t->config->final_sigma_zero ? 1 : t->alphas[0]; }

/* --- schedulers ----------------------------------------------------------------------------------------------------- */

bl_result bl_levels_ddim(const bl_table *t)
{
    for (uint32_t k = 0; k < t->n; k++) {
        const double time = rint(spaced(t, t->n, k));
        t->levels[k] = (bl_level){ time, bl_table_alpha(t, (int32_t)time), bl_table_alpha(t, (int32_t)time - t->stride) };
    }
    return BL_OK;
}

bl_result bl_levels_euler(const bl_table *t)
{
    const double most = sigma_at(t, spaced(t, t->n, 0)), least = sigma_at(t, spaced(t, t->n, t->n - 1));
    for (uint32_t k = 0; k < t->n; k++) {
        const double time = spaced(t, t->n, k), sigma = t->config->karras ? karras(most, least, k, t->n) : sigma_at(t, time);
        t->levels[k].time = t->config->karras ? time_of(t, sigma) : time;
        t->levels[k].from = abar_of(sigma);
    }
    return chain(t, last_abar(t));
}

/* Neither Karras sigmas nor another end than sigma 0. */
bl_result bl_levels_euler_ancestral(const bl_table *t)
{
    for (uint32_t k = 0; k < t->n; k++) {
        const double time = spaced(t, t->n, k);
        t->levels[k].time = time;
        t->levels[k].from = abar_of(sigma_at(t, time));
    }
    return chain(t, 1);
}

/* The range is divided as for one step more, of which the last is left out. Karras sigmas span all of the training range, and their
 * timesteps are rounded. */
bl_result bl_levels_dpmpp(const bl_table *t)
{
    const double most = sigma_of(t->alphas[t->config->train_steps - 1]), least = sigma_of(t->alphas[0]);
    for (uint32_t k = 0; k < t->n; k++) {
        const double time = rint(spaced(t, t->n + 1, k)), sigma = t->config->karras ? karras(most, least, k, t->n) : sigma_at(t, time);
        t->levels[k].time = t->config->karras ? rint(time_of(t, sigma)) : time;
        t->levels[k].from = abar_of(sigma);
    }
    return chain(t, last_abar(t));
}

/* Of the timesteps that the model was distilled for, evenly spaced, n. */
bl_result bl_levels_lcm(const bl_table *t)
{
    const uint32_t original = t->config->original_steps, apart = t->config->train_steps / original;
    if (t->n > original)
        return bl_fail(BL_ERROR_USAGE, "%u steps: scheduler lcm runs at most %u, for which the model was distilled; 4 to 8 are usual",
                       (unsigned)t->n, (unsigned)original);
    for (uint32_t k = 0; k < t->n; k++) {
        const int32_t time = (int32_t)((original - (uint32_t)floor(k * ((double)original / t->n))) * apart) - 1;
        t->levels[k].time = time;
        t->levels[k].from = bl_table_alpha(t, time);
    }
    return chain(t, 1);
}
