// AVX2 and FMA: x86-64 processors since 2013 (Intel) and 2015 (AMD).
#if defined(__x86_64__) && defined(__GNUC__)
#pragma GCC target("avx2,fma,bmi2")
#define TORCHSMOOTH_AVX2 1
#define TORCHSMOOTH_FMA 1
#define TORCHSMOOTH_ISA avx2
#include "table.h"
#endif
