// Bicubic taps (Keys 1981, a = -0.75), half-pixel centres, the border repeated: as torch's interpolate without antialiasing.
// The position is computed as there: (o + 0.5) * (in / out) - 0.5 in fp32.
const float A = -0.75;

float near_tap(float t) { return ((A + 2.0) * t - (A + 3.0)) * t * t + 1.0; }           // 0 <= t <= 1
float far_tap(float t) { return ((A * t - 5.0 * A) * t + 8.0 * A) * t - 4.0 * A; }      // 1 <= t <= 2

// First of the four input pixels (before the border is repeated) that output o of `outputs` reads, and their weights.
int taps(uint o, uint inputs, uint outputs, out vec4 w)
{
    const float at = (float(o) + 0.5) * (float(inputs) / float(outputs)) - 0.5, below = floor(at), t = at - below;
    w = vec4(far_tap(t + 1.0), near_tap(t), near_tap(1.0 - t), far_tap(2.0 - t));
    return int(below) - 1;
}
