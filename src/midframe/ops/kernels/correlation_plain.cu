// Correlation of any radius, one thread for each result: for radii beyond the kernels with tiles.

// first, second (N, C, H, W) -> out (N, (2 r + 1)^2, H, W)
extern "C" __global__ void correlation_plain(
    const SCALAR* __restrict__ first, const SCALAR* __restrict__ second, SCALAR* __restrict__ out,
    long long batch, long long channels_, long long height_, long long width_, long long radius_
) {
    const INDEX height = (INDEX)height_, width = (INDEX)width_, plane = height * width;
    const INDEX channels = (INDEX)channels_, radius = (INDEX)radius_, side = 2 * radius + 1;
    const INDEX i = (INDEX)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (INDEX)batch * side * side * plane) return;
    const INDEX pixel = i % plane, n = i / plane / (side * side), d = i / plane % (side * side);
    const INDEX dy = d / side - radius, dx = d % side - radius;
    const INDEX y = pixel / width + dy, x = pixel % width + dx;
    const bool inside = y >= 0 && y < height && x >= 0 && x < width;
    const SCALAR* left = first + n * channels * plane + pixel;
    const SCALAR* right = second + n * channels * plane + y * width + x;
    REAL sum = 0;
    for (INDEX c = 0; c < channels; ++c) {
        sum += load(left + c * plane) * (inside ? load(right + c * plane) : (REAL)0);
    }
    store(out + i, sum * ((REAL)1 / (REAL)channels));
}

// grad (N, (2 r + 1)^2, H, W) -> grad_first, grad_second (N, C, H, W), the map start + blockIdx.y
extern "C" __global__ void correlation_plain_backward(
    const SCALAR* __restrict__ grad, const SCALAR* __restrict__ first,
    const SCALAR* __restrict__ second, SCALAR* __restrict__ grad_first,
    SCALAR* __restrict__ grad_second, long long batch, long long channels_, long long height_,
    long long width_, long long start, long long radius_
) {
    const INDEX height = (INDEX)height_, width = (INDEX)width_, plane = height * width;
    const INDEX channels = (INDEX)channels_, radius = (INDEX)radius_, side = 2 * radius + 1;
    const INDEX i = (INDEX)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (INDEX)batch * channels * plane) return;
    const bool to_second = start + blockIdx.y == 1;
    const INDEX pixel = i % plane, n = i / plane / channels;
    const INDEX y = pixel / width, x = pixel % width;
    const SCALAR* other = (to_second ? first : second) + (i - pixel);
    const SCALAR* planes = grad + n * side * side * plane;
    REAL sum = 0;
    for (INDEX dy = -radius; dy <= radius; ++dy) {
        for (INDEX dx = -radius; dx <= radius; ++dx) {
            const bool inside = y + dy >= 0 && y + dy < height && x + dx >= 0 && x + dx < width;
            const INDEX there = pixel + dy * width + dx;
            if (to_second) {
                if (!inside) continue;
                const INDEX d = (radius - dy) * side + (radius - dx);
                sum += load(planes + d * plane + there) * load(other + there);
            } else {
                const INDEX d = (radius + dy) * side + (radius + dx);
                sum += load(planes + d * plane + pixel) * (inside ? load(other + there) : (REAL)0);
            }
        }
    }
    store((to_second ? grad_second : grad_first) + i, sum * ((REAL)1 / (REAL)channels));
}
