// Splatting by atomic additions, and what belongs around it: clear, raise, scatter, normalise.
//
//   MODE  0 sum, 1 avg, 2 linear, 3 soft
// One thread for a source (or target) pixel and a group of channels (blockIdx.y): positions and
// shares are computed once and used for every channel, and neighbours add to neighbouring
// addresses in each plane.

// Zeroes up to three arrays in one launch.
extern "C" __global__ void splat_clear(
    REAL* first, long long first_size, REAL* second, long long second_size, REAL* third,
    long long third_size) {
    const long long step = (long long)gridDim.x * blockDim.x;
    const long long begin = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    for (long long i = begin; i < first_size; i += step) first[i] = (REAL)0;
    for (long long i = begin; i < second_size; i += step) second[i] = (REAL)0;
    for (long long i = begin; i < third_size; i += step) third[i] = (REAL)0;
}

// What is not negative is ordered as its bits are.
__device__ __forceinline__ void raise(float* at, float value) {
    atomicMax((int*)at, (int)float_to_bits(value));
}
__device__ __forceinline__ void raise(double* at, double value) {
    union { double d; long long bits; } both;
    both.d = value;
    atomicMax((long long*)at, both.bits);
}

// Raises each target's shift to the largest metric that reaches it, less 64. Most sources leave
// after reading their metric.
extern "C" __global__ void splat_raise(
    const REAL* __restrict__ flow, const REAL* __restrict__ metric, REAL* shift,
    long long height_, long long width_, long long pixels_) {
    const INDEX height = (INDEX)height_, width = (INDEX)width_, pixels = (INDEX)pixels_;
    const INDEX p = (INDEX)blockIdx.x * (INDEX)blockDim.x + (INDEX)threadIdx.x;
    if (p >= pixels) return;
    const REAL excess = metric[p] - (REAL)64;
    if (!(excess > (REAL)0)) return;
    const INDEX plane = height * width, image = p / plane, s = p - image * plane;
    const INDEX row = s / width, column = s - row * width;
    const Landing at = land(flow + 2 * image * plane + s, plane, row, column, height, width);
    if (!at.inside) return;
    REAL* const base = shift + image * plane;
    for (int k = 0; k < 4; ++k) {
        const INDEX x = at.left + (k & 1), y = at.top + (k >> 1);
        const REAL share = (k & 1 ? at.east : at.west) * (k >> 1 ? at.south : at.north);
        if (x >= 0 && x < width && y >= 0 && y < height && share > (REAL)0) {
            raise(base + y * width + x, excess);
        }
    }
}

// Adds each source to its four targets, `size` channels from blockIdx.y * size on; the first group
// adds the weights too. `total` and `weight` are zero before.
extern "C" __global__ void __launch_bounds__(128) splat_scatter(
    const SCALAR* __restrict__ input, const REAL* __restrict__ flow,
    const REAL* __restrict__ metric, const REAL* __restrict__ shift, REAL* total, REAL* weight,
    long long channels_, long long height_, long long width_, long long pixels_,
    long long size_) {
    const INDEX channels = (INDEX)channels_, height = (INDEX)height_, width = (INDEX)width_;
    const INDEX pixels = (INDEX)pixels_, size = (INDEX)size_;
    const INDEX p = (INDEX)blockIdx.x * (INDEX)blockDim.x + (INDEX)threadIdx.x;
    if (p >= pixels) return;
    const INDEX plane = height * width, image = p / plane, s = p - image * plane;
    const INDEX row = s / width, column = s - row * width;
    const Landing at = land(flow + 2 * image * plane + s, plane, row, column, height, width);
    if (!at.inside) return;
    INDEX target[4];  // -1 where it is outside the image
    REAL share[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const INDEX x = at.left + (k & 1), y = at.top + (k >> 1);
        const bool kept = x >= 0 && x < width && y >= 0 && y < height;
        target[k] = kept ? y * width + x : (INDEX)-1;
        share[k] = (k & 1 ? at.east : at.west) * (k >> 1 ? at.south : at.north);
#if MODE == 2
        share[k] *= metric[p];
#elif MODE == 3
        if (kept) share[k] *= softmax_share(metric[p], shift[image * plane + target[k]]);
#endif
#if MODE != 0
        if (kept && blockIdx.y == 0) atomicAdd(weight + image * plane + target[k], share[k]);
#endif
    }
    const INDEX first = (INDEX)blockIdx.y * size;
    const INDEX last = first + size < channels ? first + size : channels;
    for (INDEX c = first; c < last; ++c) {
        const INDEX base = (image * channels + c) * plane;
        const REAL value = load(input + base + s);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            if (target[k] >= 0) atomicAdd(total + base + target[k], value * share[k]);
        }
    }
}

// Divides the sums by the weights; `total` and `output` may be one array.
extern "C" __global__ void __launch_bounds__(128) splat_normalize(
    const REAL* total, const REAL* __restrict__ weight, const REAL* __restrict__ shift,
    SCALAR* output, long long channels_, long long plane_, long long pixels_, long long size_,
    long long normalize) {
    const INDEX channels = (INDEX)channels_, plane = (INDEX)plane_, pixels = (INDEX)pixels_;
    const INDEX size = (INDEX)size_;
    const INDEX p = (INDEX)blockIdx.x * (INDEX)blockDim.x + (INDEX)threadIdx.x;
    if (p >= pixels) return;
    const INDEX image = p / plane, q = p - image * plane;
#if MODE == 3
    const REAL lowered = shift[p];
#else
    const REAL lowered = (REAL)0;
#endif
    REAL slope;
    const REAL by = divisor(weight[p], lowered, (int)normalize, &slope);
    const INDEX first = (INDEX)blockIdx.y * size;
    const INDEX last = first + size < channels ? first + size : channels;
    for (INDEX c = first; c < last; ++c) {
        const INDEX i = (image * channels + c) * plane + q;
        store(output + i, total[i] / by);
    }
}
