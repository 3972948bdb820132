// Put in front of every kernel file: element types, how they are read and written, positions.
//
// The compiler's options define
//   SCALAR  float, double, half_t or bfloat_t: the tensors' elements
//   REAL    float, or double for double: what is computed and summed in
//   INDEX   int, or long long for tensors of 2^31 elements and more
// No header is included, so that the text compiles wherever NVRTC runs, and by a C++ compiler too.

struct half_t { unsigned short bits; };
struct bfloat_t { unsigned short bits; };

__device__ __forceinline__ float load(const float* p) { return *p; }
__device__ __forceinline__ double load(const double* p) { return *p; }
__device__ __forceinline__ void store(float* p, float v) { *p = v; }
__device__ __forceinline__ void store(double* p, double v) { *p = v; }

__device__ __forceinline__ float bits_to_float(unsigned int bits) {
    union { unsigned int u; float f; } both;
    both.u = bits;
    return both.f;
}

__device__ __forceinline__ unsigned int float_to_bits(float value) {
    union { unsigned int u; float f; } both;
    both.f = value;
    return both.u;
}

__device__ __forceinline__ float load(const bfloat_t* p) {
    return bits_to_float((unsigned int)p->bits << 16);
}

// rounds to nearest, ties to even; a NaN stays one
__device__ __forceinline__ void store(bfloat_t* p, float v) {
    const unsigned int bits = float_to_bits(v);
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    const unsigned int rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    p->bits = (unsigned short)(nan ? (bits >> 16) | 0x40u : rounded);
}

#ifdef __CUDACC__
__device__ __forceinline__ float load(const half_t* p) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(p->bits));
    return value;
}

__device__ __forceinline__ void store(half_t* p, float v) {
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(p->bits) : "f"(v));
}
#else
inline float load(const half_t* p) { return emulated_half_to_float(p->bits); }
inline void store(half_t* p, float v) { p->bits = emulated_float_to_half(v); }
#endif

// ---- Four neighbours as one ---------------------------------------------------------------------
template <class T>
struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) quad { T at[4]; };

// Writes the first `left` of four values (all, if `left` >= 4); `whole`: rows of four stay aligned.
template <class T>
__device__ __forceinline__ void store_some(T* to, const quad<REAL>& values, int left, bool whole) {
    if (whole) {
        quad<T> rounded;
        #pragma unroll
        for (int k = 0; k < 4; ++k) store(&rounded.at[k], values.at[k]);
        if (left > 0) *(quad<T>*)to = rounded;
    } else {
        #pragma unroll
        for (int k = 0; k < 4; ++k) {
            if (k < left) store(to + k, values.at[k]);
        }
    }
}

// Copies from global to shared memory that may still be under way until `finish_copies`; the half
// types become REAL and are there at once.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
template <int BYTES>
__device__ __forceinline__ void copy_bytes(void* to, const void* from) {
    const unsigned int shared = (unsigned int)__cvta_generic_to_shared(to);
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;"
                 :: "r"(shared), "l"(from), "n"(BYTES) : "memory");
}
__device__ __forceinline__ void finish_copies() {
    asm volatile("cp.async.wait_all;" ::: "memory");
}
__device__ __forceinline__ void copy_one(float* to, const float* from) { copy_bytes<4>(to, from); }
__device__ __forceinline__ void copy_one(double* to, const double* from) {
    copy_bytes<8>(to, from);
}
__device__ __forceinline__ void copy_four(float* to, const float* from) {
    copy_bytes<16>(to, from);
}
__device__ __forceinline__ void copy_four(double* to, const double* from) {
    copy_bytes<16>(to, from);
    copy_bytes<16>(to + 2, from + 2);
}
#else
__device__ __forceinline__ void finish_copies() {}
#endif

template <class T>
__device__ __forceinline__ void copy_one(REAL* to, const T* from) { *to = load(from); }

template <class T>
__device__ __forceinline__ void copy_four(REAL* to, const T* from) {
    const quad<T> four = *(const quad<T>*)from;
    quad<REAL> values;
    #pragma unroll
    for (int k = 0; k < 4; ++k) values.at[k] = load(&four.at[k]);
    *(quad<REAL>*)to = values;
}

// ---- Splatting: where a source pixel goes -------------------------------------------------------
__device__ __forceinline__ float whole_below(float v) { return floorf(v); }
__device__ __forceinline__ double whole_below(double v) { return floor(v); }
__device__ __forceinline__ float exponential(float v) { return expf(v); }
__device__ __forceinline__ double exponential(double v) { return exp(v); }

// The four pixels around a source's target: their north-west one (-1 at least) and the shares.
struct Landing {
    bool inside;         // else the source contributes nothing; its target may not even be finite
    INDEX left, top;
    REAL west, east;     // share of the column left, left + 1
    REAL north, south;   // share of the row top, top + 1
};

// `flow` points at the x component of the source's flow, `plane` elements before the y component.
__device__ __forceinline__ Landing land(
    const REAL* flow, INDEX plane, INDEX row, INDEX column, INDEX height, INDEX width) {
    const REAL x = (REAL)column + flow[0], y = (REAL)row + flow[plane];
    Landing at;
    // compared before the conversion, which is undefined outside the integers; false for a NaN
    at.inside = x >= (REAL)-1 && x < (REAL)width && y >= (REAL)-1 && y < (REAL)height;
    const REAL left = at.inside ? whole_below(x) : (REAL)0;
    const REAL top = at.inside ? whole_below(y) : (REAL)0;
    at.left = (INDEX)left;
    at.top = (INDEX)top;
    at.east = at.inside ? x - left : (REAL)0;
    at.west = at.inside ? left + (REAL)1 - x : (REAL)0;
    at.south = at.inside ? y - top : (REAL)0;
    at.north = at.inside ? top + (REAL)1 - y : (REAL)0;
    return at;
}

// The importance of softmax splatting below the target's shift; a NaN stays one.
__device__ __forceinline__ REAL softmax_share(REAL metric, REAL shift) {
    const REAL exponent = metric - shift;
    return exponential(exponent > (REAL)64 ? (REAL)64 : exponent);
}

// What the sums of a target are divided by; `slope` is its derivative by the weight.
// `normalize`: 0 adds epsilon, 1 replaces zero by one, 2 is at least epsilon.
__device__ __forceinline__ REAL divisor(REAL weight, REAL shift, int normalize, REAL* slope) {
    REAL found = weight;
    *slope = (REAL)1;
    if (normalize == 1) {
        *slope = weight != (REAL)0 ? (REAL)1 : (REAL)0;
    } else {
        const REAL epsilon = shift > (REAL)0 ? (REAL)1e-7 * exponential(-shift) : (REAL)1e-7;
        if (normalize == 0) {
            found = weight + epsilon;
        } else if (!(weight >= epsilon)) {
            *slope = (REAL)0;
            found = weight < epsilon ? epsilon : weight;
        }
    }
    return found == (REAL)0 ? (REAL)1 : found;
}
