// The gradients of splatting in one pass without atomics: each source gathers from its targets.
//
//   MODE  0 sum, 1 avg, 2 linear, 3 soft
// With D what target q is divided by, d its derivative by the weight, and m the importance,
//   T_k = sum over c of g_c(q_k) (x_c - d_k out_c(q_k)),  b_k = (m if soft else 1) / D(q_k),
//   M = metric if linear else 1:
// grad_input_c = M sum_k w_k b_k g_c(q_k), grad_flow = M sum_k (dw_k/du, dw_k/dv) b_k T_k,
// grad_metric = sum_k w_k b_k T_k.
//
// A block has blockDim.x pixels and blockDim.y groups of channels; their sums meet in shared
// memory and are added in a fixed order, so that the gradients are the same in every run.
#define THREADS 256

extern "C" __global__ void __launch_bounds__(THREADS) splat_backward(
    const SCALAR* __restrict__ grad, const SCALAR* __restrict__ input,
    const REAL* __restrict__ flow, const REAL* __restrict__ metric,
    const SCALAR* __restrict__ output, const REAL* __restrict__ weight,
    const REAL* __restrict__ shift, SCALAR* __restrict__ grad_input,
    REAL* __restrict__ grad_flow, REAL* __restrict__ grad_metric, long long channels_,
    long long height_, long long width_, long long pixels_, long long normalize,
    long long with_input, long long with_flow, long long with_metric) {
    __shared__ REAL across[THREADS], down[THREADS], along[THREADS];
    const INDEX channels = (INDEX)channels_, height = (INDEX)height_, width = (INDEX)width_;
    const INDEX pixels = (INDEX)pixels_, plane = height * width;
    const INDEX p = (INDEX)blockIdx.x * (INDEX)blockDim.x + (INDEX)threadIdx.x;
    const bool real = p < pixels;
    const bool sums = with_flow || with_metric;
    const INDEX image = real ? p / plane : 0, s = real ? p - image * plane : 0;
    REAL gx = (REAL)0, gy = (REAL)0, gm = (REAL)0;
    if (real) {
        const INDEX row = s / width, column = s - row * width;
        const Landing at = land(flow + 2 * image * plane + s, plane, row, column, height, width);
        REAL factor = at.inside ? (REAL)1 : (REAL)0;
#if MODE == 2
        if (at.inside) factor = metric[p];
#endif
        INDEX target[4];  // -1 where it is outside the image
        REAL scale[4], slope[4], found[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            const INDEX x = at.left + (k & 1), y = at.top + (k >> 1);
            const bool kept = at.inside && x >= 0 && x < width && y >= 0 && y < height;
            target[k] = kept ? y * width + x : (INDEX)-1;
            scale[k] = kept ? (REAL)1 : (REAL)0;
            slope[k] = found[k] = (REAL)0;
#if MODE != 0
            if (kept) {
                const INDEX q = image * plane + target[k];
#if MODE == 3
                const REAL lowered = shift[q];
                scale[k] = softmax_share(metric[p], lowered);
#else
                const REAL lowered = (REAL)0;
#endif
                scale[k] /= divisor(weight[q], lowered, (int)normalize, &slope[k]);
            }
#endif
        }
        for (INDEX c = threadIdx.y; c < channels; c += blockDim.y) {
            const INDEX base = (image * channels + c) * plane;
            const REAL value = sums ? load(input + base + s) : (REAL)0;
            REAL own = (REAL)0;
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                if (target[k] < 0) continue;
                const REAL g = load(grad + base + target[k]);
                const REAL share = (k & 1 ? at.east : at.west) * (k >> 1 ? at.south : at.north);
                own += share * scale[k] * g;
#if MODE == 0
                found[k] += g * value;
#else
                if (sums) found[k] += g * (value - slope[k] * load(output + base + target[k]));
#endif
            }
            if (with_input) store(grad_input + base + s, factor * own);
        }
        if (sums) {
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                const REAL part = scale[k] * found[k];
                const REAL by_x = k & 1 ? at.east : at.west, by_y = k >> 1 ? at.south : at.north;
                gx += (k & 1 ? by_y : -by_y) * part;
                gy += (k >> 1 ? by_x : -by_x) * part;
                gm += by_x * by_y * part;
            }
            gx *= factor;
            gy *= factor;
        }
    }
    if (!sums) return;
    if (blockDim.y > 1) {
        const int slot = threadIdx.y * blockDim.x + threadIdx.x;
        across[slot] = gx;
        down[slot] = gy;
        along[slot] = gm;
        __syncthreads();
        if (threadIdx.y == 0) {
            for (int other = slot + blockDim.x; other < blockDim.x * blockDim.y;
                 other += blockDim.x) {
                gx += across[other];
                gy += down[other];
                gm += along[other];
            }
        }
    }
    if (!real || threadIdx.y != 0) return;
    if (with_flow) {
        grad_flow[2 * image * plane + s] = gx;
        grad_flow[(2 * image + 1) * plane + s] = gy;
    }
#if MODE >= 2
    if (with_metric) grad_metric[p] = gm;
#endif
}
