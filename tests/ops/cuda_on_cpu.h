// Enough of CUDA for a C++ compiler to run a kernel's text on the CPU: block after block, thread
// after thread. Where a kernel has barriers, each thread of a block is a fiber and a barrier hands
// over to the next one. It proves index arithmetic, bounds and sums; it proves nothing about
// races, launch limits or the order of atomics.
#pragma once
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#define __global__
#define __device__ inline
#define __forceinline__
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __shared__ static
#define __constant__ static const
#define __align__(n) alignas(n)

struct dim3_on_cpu { unsigned x, y, z; };
static dim3_on_cpu threadIdx, blockIdx, blockDim, gridDim;

struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(32) double4 { double x, y, z, w; };
struct alignas(8) int2 { int x, y; };
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline float2 make_float2(float x, float y) { return {x, y}; }

using std::isfinite; using std::isinf; using std::isnan; using std::max; using std::min;

template <class T> static inline T __ldg(const T* p) { return *p; }
template <class T> static inline T __ldcs(const T* p) { return *p; }
template <class T> static inline void __stcs(T* p, T v) { *p = v; }
template <class T> static inline T atomicAdd(T* p, T v) { T old = *p; *p = old + v; return old; }
template <class T> static inline T atomicMax(T* p, T v) { T old = *p; *p = std::max(old, v); return old; }
template <class T> static inline T atomicMin(T* p, T v) { T old = *p; *p = std::min(old, v); return old; }
template <class T> static inline T atomicExch(T* p, T v) { T old = *p; *p = v; return old; }
template <class T> static inline T atomicCAS(T* p, T compare, T v) {
    T old = *p;
    if (old == compare) *p = v;
    return old;
}
static inline int __float_as_int(float v) { int b; std::memcpy(&b, &v, 4); return b; }
static inline float __int_as_float(int b) { float v; std::memcpy(&v, &b, 4); return v; }
static inline long long __double_as_longlong(double v) { long long b; std::memcpy(&b, &v, 8); return b; }
static inline double __longlong_as_double(long long b) { double v; std::memcpy(&v, &b, 8); return v; }

// IEEE half precision, rounded to nearest, ties to even
static inline float emulated_half_to_float(uint16_t half) {
    const int exponent = (half >> 10) & 31;
    const float fraction = half & 1023, sign = half >> 15 ? -1.0f : 1.0f;
    if (exponent == 31) return fraction ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * std::ldexp(fraction, -24);
    return sign * std::ldexp(fraction + 1024.0f, exponent - 25);
}
static inline uint16_t emulated_float_to_half(float value) {
    const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
    const float size = std::fabs(value);
    if (std::isnan(value)) return sign | 0x7e00;
    if (size >= 65520.0f) return sign | 0x7c00;
    if (size < std::ldexp(1.0f, -14)) return sign | (uint16_t)std::nearbyint(std::ldexp(size, 24));
    int exponent;
    const float part = std::frexp(size, &exponent);  // in [0.5, 1)
    const int whole = (int)std::nearbyint(std::ldexp(part, 11));  // 1024 .. 2048
    return sign | (uint16_t)(((exponent + 13) << 10) + whole);
}

namespace on_cpu {

static std::function<void()> body;

#ifdef HAS_BARRIERS
struct Fiber {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(128 << 10);
    dim3_on_cpu thread;
    bool done;
};
static std::vector<std::unique_ptr<Fiber>> fibers;
static ucontext_t scheduler;
static size_t current;

static void run_fiber() {
    body();
    fibers[current]->done = true;
    swapcontext(&fibers[current]->context, &scheduler);
}

static void barrier() { swapcontext(&fibers[current]->context, &scheduler); }

static void run_block() {
    const size_t count = blockDim.x * blockDim.y * blockDim.z;
    while (fibers.size() < count) fibers.push_back(std::make_unique<Fiber>());
    for (size_t i = 0; i < count; ++i) {
        Fiber& fiber = *fibers[i];
        fiber.done = false;
        fiber.thread = {unsigned(i % blockDim.x), unsigned(i / blockDim.x % blockDim.y),
                        unsigned(i / blockDim.x / blockDim.y)};
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, run_fiber, 0);
    }
    for (size_t live = count; live;) {
        live = 0;
        for (current = 0; current < count; ++current) {
            if (fibers[current]->done) continue;
            threadIdx = fibers[current]->thread;
            swapcontext(&scheduler, &fibers[current]->context);
            live += !fibers[current]->done;
        }
    }
}
#else
static void barrier() {}

static void run_block() {
    for (unsigned z = 0; z < blockDim.z; ++z)
        for (unsigned y = 0; y < blockDim.y; ++y)
            for (unsigned x = 0; x < blockDim.x; ++x) {
                threadIdx = {x, y, z};
                body();
            }
}
#endif

static void run_grid(const unsigned* sizes) {
    gridDim = {sizes[0], sizes[1], sizes[2]};
    blockDim = {sizes[3], sizes[4], sizes[5]};
    for (unsigned z = 0; z < gridDim.z; ++z)
        for (unsigned y = 0; y < gridDim.y; ++y)
            for (unsigned x = 0; x < gridDim.x; ++x) {
                blockIdx = {x, y, z};
                run_block();
            }
}

template <class... A, size_t... I>
static void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<A*>(arguments[I])...);
}

template <class... A>
static int launch(void (*kernel)(A...), const unsigned* sizes, void** arguments, int count) {
    if (count != (int)sizeof...(A)) return (int)sizeof...(A);
    body = [=] { call(kernel, arguments, std::index_sequence_for<A...>()); };
    run_grid(sizes);
    return -1;
}

}  // namespace on_cpu

#define __syncthreads() on_cpu::barrier()
#define RUN_ON_CPU(name) \
    extern "C" int run_##name(const unsigned* sizes, void** arguments, int count) { \
        return on_cpu::launch(name, sizes, arguments, count); \
    }
