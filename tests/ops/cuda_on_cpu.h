// Enough of CUDA for a C++ compiler to run a kernel's text on the CPU: block after block, thread
// after thread. Where a kernel has barriers, each thread of a block is a fiber and a barrier hands
// over to the next one. It proves index arithmetic, bounds and sums; it proves nothing about
// races, launch limits or the order of atomics.
//
// Each variant of a kernel is compiled for itself, some hundred of them, and the C++ library's
// headers take three times as long as the kernels: none of them is included.
#pragma once
#include <stdint.h>
#include <ucontext.h>

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

extern "C" {  // of math.h, which brings the C++ library's along
double exp(double) noexcept;
float expf(float) noexcept;
double floor(double) noexcept;
float floorf(float) noexcept;
double trunc(double) noexcept;
float truncf(float) noexcept;
}
template <class T> static inline bool isfinite(T v) { return __builtin_isfinite(v); }
template <class T> static inline T max(T a, T b) { return a < b ? b : a; }
template <class T> static inline T min(T a, T b) { return b < a ? b : a; }

template <class T> static inline T __ldg(const T* p) { return *p; }
template <class T> static inline T __ldcs(const T* p) { return *p; }
template <class T> static inline void __stcs(T* p, T v) { *p = v; }
template <class T> static inline T atomicAdd(T* p, T v) { T old = *p; *p = old + v; return old; }
template <class T> static inline T atomicMax(T* p, T v) { T old = *p; *p = max(old, v); return old; }
template <class T> static inline T atomicMin(T* p, T v) { T old = *p; *p = min(old, v); return old; }
template <class T> static inline T atomicExch(T* p, T v) { T old = *p; *p = v; return old; }
template <class T> static inline T atomicCAS(T* p, T compare, T v) {
    T old = *p;
    if (old == compare) *p = v;
    return old;
}
static inline int __float_as_int(float v) { int b; __builtin_memcpy(&b, &v, 4); return b; }
static inline float __int_as_float(int b) { float v; __builtin_memcpy(&v, &b, 4); return v; }
static inline long long __double_as_longlong(double v) { long long b; __builtin_memcpy(&b, &v, 8); return b; }
static inline double __longlong_as_double(long long b) { double v; __builtin_memcpy(&v, &b, 8); return v; }

// IEEE half precision, rounded to nearest, ties to even
static inline float emulated_half_to_float(uint16_t half) {
    const int exponent = (half >> 10) & 31;
    const float fraction = half & 1023, sign = half >> 15 ? -1.0f : 1.0f;
    if (exponent == 31) return fraction ? __builtin_nanf("") : sign * __builtin_inff();
    if (exponent == 0) return sign * __builtin_ldexpf(fraction, -24);
    return sign * __builtin_ldexpf(fraction + 1024.0f, exponent - 25);
}
static inline uint16_t emulated_float_to_half(float value) {
    const uint16_t sign = __builtin_signbit(value) ? 0x8000 : 0;
    const float size = __builtin_fabsf(value);
    if (__builtin_isnan(value)) return sign | 0x7e00;
    if (size >= 65520.0f) return sign | 0x7c00;
    if (size < __builtin_ldexpf(1.0f, -14))
        return sign | (uint16_t)__builtin_nearbyintf(__builtin_ldexpf(size, 24));
    int exponent;
    const float part = __builtin_frexpf(size, &exponent);  // in [0.5, 1)
    const int whole = (int)__builtin_nearbyintf(__builtin_ldexpf(part, 11));  // 1024 .. 2048
    return sign | (uint16_t)(((exponent + 13) << 10) + whole);
}

namespace on_cpu {

static void (*run_thread)(void*);  // the kernel
static void** given;               // its arguments

static void body() { run_thread(given); }

#ifdef HAS_BARRIERS
struct Fiber {
    ucontext_t context;
    char stack[128 << 10];
    dim3_on_cpu thread;
    bool done;
};
static Fiber* fibers[1024];  // as many as a block may have threads
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
    for (size_t i = 0; i < count; ++i) {
        if (!fibers[i]) fibers[i] = new Fiber;
        Fiber& fiber = *fibers[i];
        fiber.done = false;
        fiber.thread = {unsigned(i % blockDim.x), unsigned(i / blockDim.x % blockDim.y),
                        unsigned(i / blockDim.x / blockDim.y)};
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack;
        fiber.context.uc_stack.ss_size = sizeof(fiber.stack);
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

template <size_t... I> struct Places {};
template <size_t N, size_t... I> struct Count : Count<N - 1, N - 1, I...> {};
template <size_t... I> struct Count<0, I...> { using places = Places<I...>; };

template <auto kernel, class... A, size_t... I>
static int launch(void (*)(A...), const unsigned* sizes, void** arguments, int count, Places<I...>) {
    if (count != (int)sizeof...(A)) return (int)sizeof...(A);
    run_thread = [](void* all) { kernel(*static_cast<A*>(static_cast<void**>(all)[I])...); };
    given = arguments;
    run_grid(sizes);
    return -1;
}

template <class... A> static typename Count<sizeof...(A)>::places places(void (*)(A...)) { return {}; }

}  // namespace on_cpu

#define __syncthreads() on_cpu::barrier()
#define RUN_ON_CPU(name) \
    extern "C" int run_##name(const unsigned* sizes, void** arguments, int count) { \
        return on_cpu::launch<name>(name, sizes, arguments, count, on_cpu::places(name)); \
    }
