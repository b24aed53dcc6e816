// Compiler glue for the headers that host and device share.
#pragma once

#include <stdint.h>

// Shared functions are always inlined. On the CPU this also keeps the instruction sets apart: each
// is a translation unit of its own that includes these headers, and a copy that was not inlined
// would be merged by the linker, so that a machine without AVX-512 could run the AVX-512 copy.
#if defined(__CUDACC__)
#define TS_HD __host__ __device__ __forceinline__
// For functions with all laws in them, which would be most of a kernel wherever they are inlined.
#define TS_HD_CALLED __host__ __device__ __noinline__
#else
#define TS_HD inline __attribute__((always_inline))
#define TS_HD_CALLED TS_HD
#endif

// What the instruction set of this translation unit has. An including file says so itself where it
// chooses its target by a pragma, because GCC sets its own macros only from the command line.
#if defined(__AVX2__) && !defined(TORCHSMOOTH_AVX2)
#define TORCHSMOOTH_AVX2 1
#endif
#if (defined(__FMA__) || defined(__ARM_FEATURE_FMA)) && !defined(TORCHSMOOTH_FMA)
#define TORCHSMOOTH_FMA 1
#endif

// Stands before a loop over lanes: its iterations are independent, and GCC is to vectorise it and
// not to unroll it first (which it does with short loops, and then finds nothing to vectorise).
#if defined(__CUDACC__) || !defined(__GNUC__) || defined(__clang__)
#define TS_LANES
#else
#define TS_LANES _Pragma("GCC ivdep") _Pragma("GCC unroll 1")
#endif
