// AVX-512 with its F, BW, DQ and VL parts: x86-64 server processors since 2017.
#if defined(__x86_64__) && defined(__GNUC__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,prefer-vector-width=512")
#define TORCHSMOOTH_AVX512 1
#define TORCHSMOOTH_AVX2 1
#define TORCHSMOOTH_FMA 1
#define TORCHSMOOTH_ISA avx512
#include "table.h"
#endif
