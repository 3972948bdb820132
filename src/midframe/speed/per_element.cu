// Splatting as the published kernels do it, as a peer: one thread per element of NCHW, four scalar
// atomic additions each, the flow read again for every channel. Written from a description.
// Arguments of all: sizes of the image; in the published kernels they are part of the text.

#define LOCATE(thread)                                                   \
    const int n = (thread) / (height * width * channels) % batch;        \
    const int c = (thread) / (height * width) % channels;                \
    const int y = (thread) / width % height;                             \
    const int x = (thread) % width;

#define CORNERS(n, y, x)                                                             \
    const float u = (float)(x) + flow[((n) * 2 * height + (y)) * width + (x)];       \
    const float v = (float)(y) + flow[(((n) * 2 + 1) * height + (y)) * width + (x)]; \
    if (!isfinite(u) || !isfinite(v)) return;                                        \
    const int left = (int)floorf(u), top = (int)floorf(v);                           \
    const int right = left + 1, bottom = top + 1;                                    \
    const float nw = ((float)right - u) * ((float)bottom - v);                       \
    const float ne = (u - (float)left) * ((float)bottom - v);                        \
    const float sw = ((float)right - u) * (v - (float)top);                          \
    const float se = (u - (float)left) * (v - (float)top);

#define INSIDE(row, column) ((row) >= 0 && (row) < height && (column) >= 0 && (column) < width)
#define AT(n, c, row, column) ((((n) * channels + (c)) * height + (row)) * width + (column))

extern "C" __global__ void splat_out(const float* input, const float* flow, float* output,
                                     long long count, long long batch_, long long channels_,
                                     long long height_, long long width_) {
    const int batch = (int)batch_, channels = (int)channels_;
    const int height = (int)height_, width = (int)width_;
    const int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    LOCATE(thread)
    CORNERS(n, y, x)
    const float value = input[AT(n, c, y, x)];
    if (INSIDE(top, left)) atomicAdd(&output[AT(n, c, top, left)], value * nw);
    if (INSIDE(top, right)) atomicAdd(&output[AT(n, c, top, right)], value * ne);
    if (INSIDE(bottom, left)) atomicAdd(&output[AT(n, c, bottom, left)], value * sw);
    if (INSIDE(bottom, right)) atomicAdd(&output[AT(n, c, bottom, right)], value * se);
}

// expects a zero gradient, which is left where the flow is not finite
extern "C" __global__ void splat_ingrad(const float* grad, const float* flow, float* found,
                                        long long count, long long batch_, long long channels_,
                                        long long height_, long long width_) {
    const int batch = (int)batch_, channels = (int)channels_;
    const int height = (int)height_, width = (int)width_;
    const int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    LOCATE(thread)
    CORNERS(n, y, x)
    float sum = 0.0f;
    if (INSIDE(top, left)) sum += grad[AT(n, c, top, left)] * nw;
    if (INSIDE(top, right)) sum += grad[AT(n, c, top, right)] * ne;
    if (INSIDE(bottom, left)) sum += grad[AT(n, c, bottom, left)] * sw;
    if (INSIDE(bottom, right)) sum += grad[AT(n, c, bottom, right)] * se;
    found[thread] = sum;
}

// one thread per component of the flow, which reads all channels of gradient and input
extern "C" __global__ void splat_flowgrad(const float* input, const float* grad, const float* flow,
                                          float* found, long long count, long long batch_,
                                          long long channels_, long long height_,
                                          long long width_) {
    const int batch = (int)batch_, channels = (int)channels_;
    const int height = (int)height_, width = (int)width_;
    const int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const int n = thread / (height * width * 2) % batch;
    const int component = thread / (height * width) % 2;
    const int y = thread / width % height, x = thread % width;
    CORNERS(n, y, x)
    float by_nw, by_ne, by_sw, by_se;
    if (component == 0) {
        by_nw = -((float)bottom - v), by_ne = (float)bottom - v;
        by_sw = -(v - (float)top), by_se = v - (float)top;
    } else {
        by_nw = -((float)right - u), by_ne = -(u - (float)left);
        by_sw = (float)right - u, by_se = u - (float)left;
    }
    float sum = 0.0f;
    for (int c = 0; c < channels; ++c) {
        const float value = input[AT(n, c, y, x)];
        if (INSIDE(top, left)) sum += grad[AT(n, c, top, left)] * value * by_nw;
        if (INSIDE(top, right)) sum += grad[AT(n, c, top, right)] * value * by_ne;
        if (INSIDE(bottom, left)) sum += grad[AT(n, c, bottom, left)] * value * by_sw;
        if (INSIDE(bottom, right)) sum += grad[AT(n, c, bottom, right)] * value * by_se;
    }
    found[thread] = sum;
}
