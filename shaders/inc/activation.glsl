// Activations of epilogues and of activation_fwd, and their derivatives, in fp32. Finite for every finite input; relative error about
// 1e-6, of a derivative about 1e-6 of the largest.

// The bound keeps exp() and the quotient inside the range in which Vulkan promises accuracy; below -80 a sigmoid is 0 in every type.
float sigmoid(float v) { return 1.0 / (1.0 + exp(min(-v, 80.0))); }

// Phi(v), the normal distribution function. With a = |v| the tail is Phi(-a) = exp(-a^2 / 2) P(t), t = 1 / (1 + 11 a / 32): P, a
// polynomial fitted to least relative error (2.3e-8) on 0 <= a <= 14, replaces the scaled erfc, so nothing cancels on either side.
float normal_cdf(float v)
{
    const float a = min(abs(v), 14.0);
    const float t = 1.0 / fma(0.34375, a, 1.0);
    float s = -0.027809377759695053;
    s = fma(s, t, 0.14384938776493073);
    s = fma(s, t, -0.2717145085334778);
    s = fma(s, t, 0.19092155992984772);
    s = fma(s, t, -0.03930756077170372);
    s = fma(s, t, 0.11265814304351807);
    s = fma(s, t, 0.11674042046070099);
    s = fma(s, t, 0.13754227757453918);
    s = fma(s, t, 0.13711966574192047);
    const float tail = s * t * exp(-0.5 * a * a);
    return v < 0.0 ? tail : 1.0 - tail;
}

// 3 tanh(v / 3). Near 0, where 1 - exp() cancels, the polynomial of Cephes' tanhf (Moshier), which has x P(x^2) on |x| < 0.625.
float tanh_3(float v)
{
    const float x = v * (1.0 / 3.0), a = abs(x), z = x * x;
    float s = -5.70498872745e-3;
    s = fma(s, z, 2.06390887954e-2);
    s = fma(s, z, -5.37397155531e-2);
    s = fma(s, z, 1.33314422036e-1);
    s = fma(s, z, -3.33332819422e-1);
    const float far = 3.0 - 6.0 / (1.0 + exp(2.0 * (a > 40.0 ? 40.0 : a)));  // not min(): NaN is passed on
    return a < 0.625 ? fma(s * z, v, v) : x < 0.0 ? -far : far;
}

float activate(float v, uint act)
{
    precise float y = v;  // the product is not to be fused with a sum of the caller
    if (act == ACT_SILU)
        y = v * sigmoid(v);
    else if (act == ACT_GELU)
        y = v * normal_cdf(v);
    else if (act == ACT_QUICK_GELU)
        y = v * sigmoid(1.702 * v);
    else if (act == ACT_RELU)
        y = v < 0.0 ? 0.0 : v;  // not max(): NaN is passed on
    else if (act == ACT_TANH_3)
        y = tanh_3(v);
    return y;
}

vec4 activate(vec4 v, uint act)
{
    return vec4(activate(v.x, act), activate(v.y, act), activate(v.z, act), activate(v.w, act));
}

// With s = sigmoid(v): s (1 + v (1 - s)), where 1 - s = exp(-v) s. Outside the bounds it is 0 or 1 in every type.
float silu_derivative(float v)
{
    const float a = clamp(v, -80.0, 80.0), t = exp(-a), s = 1.0 / (1.0 + t);
    return fma(a * t, s, 1.0) * s;
}

// act'(v)
float derivative(float v, uint act)
{
    precise float y = 1.0;
    if (act == ACT_SILU)
        y = silu_derivative(v);
    else if (act == ACT_GELU) {
        const float a = clamp(v, -14.0, 14.0);
        y = fma(0.3989422804 * a, exp(-0.5 * a * a), normal_cdf(v));
    } else if (act == ACT_QUICK_GELU)
        y = silu_derivative(1.702 * v);
    else if (act == ACT_RELU)
        y = v > 0.0 ? 1.0 : 0.0;
    else if (act == ACT_TANH_3) {  // 1 - tanh^2 = 4 e / (1 + e)^2 with e = exp(-2 |v| / 3)
        const float e = exp(-2.0 / 3.0 * min(abs(v), 120.0)), q = 1.0 / (1.0 + e);
        y = 4.0 * e * q * q;
    }
    return y;
}

vec4 derivative(vec4 v, uint act)
{
    return vec4(derivative(v.x, act), derivative(v.y, act), derivative(v.z, act), derivative(v.w, act));
}
